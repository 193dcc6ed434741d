"""Names of temporary files that say who writes them, so that those of killed writers can be found and removed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sdg_helpers.processes import is_alive, process_space, start_time

_NAME = re.compile(r"\..*\.(?P<space>[0-9a-f]{12})-(?P<pid>\d+)-(?P<started>[0-9.]+)-[0-9a-f]{8}\.tmp", re.S)
_OLD_S = 86400.0  # without a change, before the file of another machine's writer counts as abandoned
_DEPTH = 2  # folders below that of the lock


def temporary_path(path: Path) -> Path:
    """Return a new path beside `path` for what will be renamed to it."""
    writer = f"{process_space()}-{os.getpid()}-{start_time(os.getpid())}"
    return path.with_name(f".{path.name}.{writer}-{secrets.token_hex(4)}.tmp")


def remove_abandoned(folder: Path) -> None:
    """Remove what dead writers left in this folder and those just below it; call it when you hold the folder's lock.

    A writer of this machine is looked up; one of another machine is dead when its file has not changed for a day.
    """
    now = None
    for path in _temporary_paths(folder, _DEPTH):
        with suppress(OSError):
            found = _NAME.fullmatch(path.name)
            if found is not None and found["space"] == process_space():
                abandoned = not is_alive(int(found["pid"]), found["started"])
            else:
                now = _clock(folder) if now is None else now
                abandoned = now - path.lstat().st_mtime > _OLD_S
            if abandoned and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif abandoned:
                path.unlink()


def _temporary_paths(folder: Path, depth: int) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                yield Path(entry.path)
            elif depth and entry.is_dir(follow_symlinks=False):
                yield from _temporary_paths(Path(entry.path), depth - 1)


def _clock(folder: Path) -> float:
    """Return the time by the clock that dates this folder's files, which may be a file server's."""
    probe = temporary_path(folder / "clock")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
