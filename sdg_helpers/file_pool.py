"""Read pieces of many files while few of them are open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

_MAX_OPEN_FILES = 128  # enough for the attempts of many jobs, and far below the limit of a process


class FilePool:
    """Read from many files while keeping only the most recently used ones open: there may be more than a process may
    open, such as a file for each attempt of each job."""

    def __init__(self, paths: Sequence[Path]):
        self.paths = paths
        self._open: dict[int, int] = {}  # index of the path -> file descriptor, least recently used first

    def read(self, source: int, offset: int, length: int) -> bytes:
        """Return `length` bytes of file number `source`, fewer at its end."""
        return os.pread(self._handle(source), length, offset)

    def will_read(self, source: int, offset: int, length: int) -> None:
        """Let the system fetch these bytes of a file while other work goes on."""
        if length and hasattr(os, "posix_fadvise"):  # 0 would mean the rest of the file
            os.posix_fadvise(self._handle(source), offset, length, os.POSIX_FADV_WILLNEED)

    def _handle(self, source: int) -> int:
        handle = self._open.pop(source, None)
        if handle is None:
            if len(self._open) == _MAX_OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            handle = os.open(self.paths[source], os.O_RDONLY | os.O_CLOEXEC)
        self._open[source] = handle
        return handle

    def close(self) -> None:
        """Close every file."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __enter__(self) -> FilePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
