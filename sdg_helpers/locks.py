"""Exclusive file locks, which end when their process dies: flock, or a lease where the file system has no flock."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sdg_helpers.errors import SdgError
from sdg_helpers.files import content_id, disk_errors
from sdg_helpers.lease_locks import NO_FLOCK, Lease
from sdg_helpers.temporary_files import remove_abandoned

_POLL_S = 0.2


class Lock:
    """An exclusive lock that dies with its process. `what` names the work in the error for a second process.

    The constructor raises SdgError for a path that cannot be written: `waiting_lock` would otherwise wait for ever.
    Entering raises SdgError when another process holds the lock.
    """

    def __init__(self, path: Path | str, what: str):
        self.path, self.what = Path(path), what
        self._file: BinaryIO | None = None
        self._lease: Lease | None = None
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.open("ab").close()

    def __enter__(self) -> Lock:
        while not self.take():
            if self._lease is None or self._lease.holder_lives is not None:
                raise SdgError(
                    f"{self.what} is already running: {self._holder() or 'another process'} holds {self.path}. Wait "
                    "for it to finish, or stop it, then run again."
                )
            time.sleep(_POLL_S)  # a lease of another machine: it is alive, or expires
        return self

    def take(self) -> bool:
        """Take the lock if nobody holds it, and return whether it is held now. Remove what killed writers left."""
        if self._lease is None:
            file = self.path.open("ab")
            try:
                held = _try_flock(file)
            except OSError as error:
                file.close()
                self._lease = _lease_instead(self.path, error)
            else:
                if not held:
                    file.close()
                    return False
                self._file = file
        if self._lease is not None and not self._lease.take():
            return False
        with suppress(OSError):  # on a full disk the lock still holds, only unnamed
            self.path.write_bytes(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        remove_abandoned(self.path.parent)
        return True

    def _holder(self) -> str:
        return self._lease.holder() if self._lease else self.path.read_text(errors="replace").strip()

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lease is not None:
            self._lease.give_back()
            self._lease = None

    @staticmethod
    def is_free(path: Path | str) -> bool:
        """Return whether no process holds the lock at `path`, without taking it."""
        try:
            with open(path) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            return _watched.setdefault(Path(path), _lease_instead(Path(path), error)).is_free()
        return True


_watched: dict[Path, Lease] = {}  # leases that were asked about: whether another machine's is renewed takes two looks


def _try_flock(file: BinaryIO) -> bool:
    for pause_s in (0.05, 0.1, 0):  # `is_free` holds a lock only for an instant
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(pause_s)
    return False


def _lease_instead(path: Path, error: OSError) -> Lease:
    """Return a lease when the file system has no flock. Raises SdgError for another error."""
    if error.errno in NO_FLOCK:
        return Lease(path)
    raise SdgError(
        f"cannot lock {path} on its file system ({file_system(path)}): {error.strerror or error}. Move the folder to "
        "another file system, or have this one mounted with locks, then run again."
    ) from error


def open_lockable(path: Path) -> BinaryIO:
    """Open a file that can be locked with flock and inherited by a child: this one, or one on this machine's own disk.

    For locks that a child has to keep when its parent dies, which no lease can.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        pass
    except OSError as error:
        file.close()
        _lease_instead(path, error)
        local = Path(tempfile.gettempdir(), f"sdg-{os.getuid()}-{content_id(str(path.resolve()))}.lock")
        with disk_errors(local):
            return open(os.open(local, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600), "wb")
    return file


def file_system(path: Path) -> str:
    """Return the type and mount point of a path's file system, such as "nfs4 at /home"."""
    import psutil

    real = os.path.realpath(path)
    mounts = [
        one for one in psutil.disk_partitions(all=True) if os.path.commonpath((real, one.mountpoint)) == one.mountpoint
    ]
    if not mounts:
        return "of unknown type"
    mount = max(mounts, key=lambda one: len(one.mountpoint))
    return f"{mount.fstype} at {mount.mountpoint}"


@contextmanager
def waiting_lock(path: Path, what: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a Lock, waiting for it as long as needed; `on_wait` is called about five times a second meanwhile."""
    lock = Lock(path, what)
    while not lock.take():
        on_wait()
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.__exit__()
