"""A limit on all the memory that one sandbox causes, the kernel's included, through a control group (cgroup v1 or v2).

Root has it nearly everywhere; other users where an administrator delegated a group with the memory controller to them.
Elsewhere the sandbox relies on its limits per process, its system call filter and the checks in sandboxed_process.py.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_PREFIX = "sdg-sandbox"
_REMOVE_WITHIN_S = 2.0
_numbers = itertools.count()


class MemoryGroup:
    """One control group with a memory limit."""

    def __init__(self, folder: Path, limit_bytes: int):
        self._folder = folder
        folder.mkdir()
        (folder / _limit_file(folder)).write_text(str(limit_bytes))
        for name, value in (
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("memory.memsw.limit_in_bytes", str(limit_bytes)),
        ):
            with suppress(OSError):  # of the other version, or a kernel without swap accounting
                if (folder / name).exists():
                    (folder / name).write_text(value)

    def add(self, pid: int) -> None:
        """Move a process, whose later children belong to the group as well."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def exceeded(self) -> bool:
        """Return whether the kernel killed a process of the group for its memory."""
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                if found := re.search(r"^oom_kill (\d+)", (self._folder / name).read_text(), re.M):
                    return int(found[1]) > 0
        return False

    def remove(self) -> None:
        """Remove the group, once the kernel has noticed that its processes ended."""
        deadline = time.monotonic() + _REMOVE_WITHIN_S
        while not _remove(self._folder) and time.monotonic() < deadline:
            time.sleep(0.01)


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup | None]:
    """Create a group with this limit for one sandbox, and remove it; None where groups cannot be created."""
    parent = _parent()
    if parent is None:
        yield None
        return
    group = MemoryGroup(parent / f"{_PREFIX}-{os.getpid()}-{next(_numbers)}", limit_bytes)
    try:
        yield group
    finally:
        group.remove()


@cache
def _parent() -> Path | None:
    """Return the group in which groups with a memory limit can be created, or None; remove those of dead processes."""
    for folder in _own_groups():
        trial = folder / f"{_PREFIX}-{os.getpid()}-trial"
        try:
            trial.mkdir()
            usable = (trial / _limit_file(trial)).exists() and os.access(trial / "cgroup.procs", os.W_OK)
        except OSError:
            continue
        finally:
            _remove(trial)
        if usable:
            for left in folder.glob(f"{_PREFIX}-*"):
                if not Path(f"/proc/{left.name.split('-')[2]}").exists():
                    _remove(left)
            return folder
    return None


def _own_groups() -> Iterator[Path]:
    """Yield the folder of our group with the memory controller in version 1, or of our group in 2 and of its parent."""
    ours = dict(re.findall(r"^\d+:([^:]*):(.*)$", Path("/proc/self/cgroup").read_text(), re.M))
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        root, folder, kind, options = fields[3], Path(fields[4]), fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup" and "memory" in options:
            path = next((path for names, path in ours.items() if "memory" in names.split(",")), None)
        else:
            path = ours.get("") if kind == "cgroup2" else None
        if path is not None:
            own = folder / os.path.relpath(path, root) if path.startswith(root) else folder
            yield from (own, own.parent) if kind == "cgroup2" else (own,)


def _limit_file(folder: Path) -> str:
    return "memory.limit_in_bytes" if (folder / "memory.limit_in_bytes").exists() else "memory.max"


def _remove(folder: Path) -> bool:
    with suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError:
            return False
    return True
