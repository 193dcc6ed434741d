"""Exclusive file locks, which the operating system releases when their process dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sdg_helpers.errors import SdgError
from sdg_helpers.files import disk_errors

_POLL_S = 0.2


class Lock:
    """An exclusive lock that dies with its process. `what` names the work in the error for a second process.

    The constructor raises SdgError for a path that cannot be written: `waiting_lock` would otherwise wait for ever.
    Entering raises SdgError when another process holds the lock.
    """

    def __init__(self, path: Path | str, what: str):
        self.path, self.what = Path(path), what
        self._file: BinaryIO | None = None
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.open("ab").close()

    def __enter__(self) -> Lock:
        file = open(self.path, "a+b", buffering=0)
        if not _try_lock(file):
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
            file.close()
            raise SdgError(
                f"{self.what} is already running: {holder} holds {self.path}. Wait for it to finish, or stop it, then "
                "run again."
            )
        with suppress(OSError):  # on a full disk the lock still holds, only unnamed
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._file = file
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

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
        return True


def _try_lock(file: BinaryIO) -> bool:
    for pause_s in (0.05, 0.1, 0):  # `is_free` holds a lock only for an instant
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(pause_s)
    return False


@contextmanager
def waiting_lock(path: Path, what: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a Lock, waiting for it as long as needed; `on_wait` is called about five times a second meanwhile."""
    lock = Lock(path, what)
    while True:
        try:
            lock.__enter__()
            break
        except SdgError:
            on_wait()
            time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.__exit__()
