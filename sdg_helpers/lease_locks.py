"""Locks for file systems without flock (NFS without lockd, Lustre without -o flock): a lease that its holder renews.

    .lock.lease/free                 nobody holds it
    .lock.lease/HOLDER               held; HOLDER names the machine, the process and this one holding of it

The folder appears complete, by rename, and always contains exactly one file. Taking, returning and stealing a lease is
a rename of that file, of which only one process's can succeed. The holder rewrites the file every ten seconds; whoever
waits compares what it reads with its own clock, so that the clocks of machines and file servers do not matter. A lease
of this machine is stolen as soon as its process is dead, and never before; one of another machine when it has not
changed for two minutes. A holder that finds its lease stolen, after its machine was suspended, interrupts its work.
"""

from __future__ import annotations

import _thread
import errno
import os
import re
import secrets
import shutil
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from sdg_helpers.files import disk_errors
from sdg_helpers.processes import is_alive, process_space, start_time
from sdg_helpers.temporary_files import temporary_path

NO_FLOCK = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
BEAT_S = 10.0
EXPIRY_S = 120.0  # a file system may hang for a minute or more
_FREE = "free"
_HOLDER = re.compile(r"(?P<host>.*),(?P<space>[^,]*),(?P<pid>\d+),(?P<started>[^,]*),(?P<token>[0-9a-f]+)")


class Lease:
    """A lease on `path`, which need not exist: the lease is a folder beside it."""

    def __init__(self, path: Path):
        host = re.sub(r"[/,]", "_", socket.gethostname())
        self._folder = path.with_name(path.name + ".lease")
        self._name = f"{host},{process_space()},{os.getpid()},{start_time(os.getpid())},{secrets.token_hex(8)}"
        self._seen: tuple[str, bytes, float] | None = None  # holder, its last beat, when we first saw that beat
        self._returned = threading.Event()
        self.holder_lives: bool | None = None  # at the last look; None: it is on another machine, and we watch its beat

    def take(self) -> bool:
        """Take the lease if it is free or its holder is dead. Call again to watch a holder on another machine."""
        with disk_errors(self._folder):
            if not self._folder.is_dir():
                _create(self._folder)
            holder = self._find_holder()
            if holder is None or not self._may_be_taken(holder):
                return False
            with suppress(OSError):  # another process was faster, or a file server repeated a request that succeeded
                os.rename(self._folder / holder, self._folder / self._name)
            if self._find_holder() != self._name:
                return False
            self._beat(0)
        threading.Thread(target=self._renew, daemon=True).start()
        return True

    def give_back(self) -> None:
        """Let others take the lease. Does nothing if it was stolen."""
        self._returned.set()
        with suppress(OSError):
            os.rename(self._folder / self._name, self._folder / _FREE)

    def is_free(self) -> bool:
        """Return whether `take` would succeed, without trying."""
        holder = self._find_holder()
        return not self._folder.exists() if holder is None else self._may_be_taken(holder)

    def holder(self) -> str:
        """Return who holds it, such as "process 12 on node1"; "" when nobody does."""
        found = _HOLDER.fullmatch(self._find_holder() or "")
        return f"process {found['pid']} on {found['host']}" if found else ""

    def _find_holder(self) -> str | None:
        """Return the name of the folder's file; None without a folder, or while the file is being renamed."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if name == _FREE or _HOLDER.fullmatch(name):
                    return name
        return None

    def _may_be_taken(self, holder: str) -> bool:
        found = _HOLDER.fullmatch(holder)
        if found is None:
            return True
        if found["space"] == process_space():
            self.holder_lives = is_alive(int(found["pid"]), found["started"])
            return not self.holder_lives
        file = self._folder / holder
        try:
            beat = file.read_bytes() + b"%d" % file.stat().st_mtime_ns
        except OSError:  # it has just changed hands
            return False
        if self._seen is None or self._seen[:2] != (holder, beat):
            self.holder_lives = True if self._seen is not None else None
            self._seen = (holder, beat, time.monotonic())
        return time.monotonic() - self._seen[2] > EXPIRY_S

    def _renew(self) -> None:
        count = 0
        while not self._returned.wait(BEAT_S):
            count += 1
            try:
                self._beat(count)
            except FileNotFoundError:
                if not self._returned.is_set():
                    print(
                        f"{self._folder} was taken over by {self.holder() or 'another process'}: stopping.",
                        file=sys.stderr,
                        flush=True,
                    )
                    _thread.interrupt_main()
                return
            except OSError:  # a hanging disk: others have patience
                continue

    def _beat(self, count: int) -> None:
        fd = os.open(self._folder / self._name, os.O_WRONLY)  # raises FileNotFoundError when the lease was stolen
        try:
            os.utime(fd)  # works on a full disk, too
            with suppress(OSError):
                os.pwrite(fd, b"%020d\n" % count, 0)
                os.fsync(fd)
        finally:
            os.close(fd)


def _create(folder: Path) -> None:
    """Create a lease's folder with its file, at once: a rename onto a folder that is not empty fails."""
    new = temporary_path(folder)
    new.mkdir()
    (new / _FREE).touch()
    try:
        os.rename(new, folder)
    except OSError:  # another process was faster
        shutil.rmtree(new, ignore_errors=True)
