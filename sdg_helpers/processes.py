"""Who still needs a server: processes, known by pid and start time, registered as small files in its folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

from sdg_helpers.errors import SdgError


def start_time(pid: int) -> str | None:
    """When a live process began, as an opaque text that differs when a pid is used again; None when it is gone.

    A zombie (killed, not yet collected by its parent) is gone. Linux: ticks since boot, which no change of the clock
    moves; elsewhere psutil's creation time.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before may hold spaces and brackets
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (FileNotFoundError, ProcessLookupError):
        pass
    if os.path.exists("/proc/self/stat"):
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.NoSuchProcess:
        return None


def is_alive(pid: int, started: str) -> bool:
    """True while the process with this pid and start time lives."""
    return start_time(pid) == started


def owner_pid() -> int:
    """The process for which servers are opened: the driver that SDG_OWNER_PID names, else this one."""
    value = os.environ.get("SDG_OWNER_PID", "").strip()
    if not value:
        return os.getpid()
    if not value.isdecimal() or start_time(int(value)) is None:
        raise SdgError(
            f"SDG_OWNER_PID={value}: expected the number of a running process (the driver that will end the "
            "servers), found none. Unset SDG_OWNER_PID, or start the driver again."
        )
    return int(value)


def register(folder: Path, pid: int) -> None:
    """Note in `folder` that this process needs the server."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(pid)).write_text(start_time(pid) or "", encoding="ascii")


def withdraw(folder: Path, pid: int) -> None:
    """This process needs the server no longer."""
    (folder / str(pid)).unlink(missing_ok=True)


def any_alive(folder: Path) -> bool:
    """True while a registered process lives."""
    for path in folder.glob("[0-9]*"):
        try:
            started = path.read_text(encoding="ascii")
        except FileNotFoundError:
            continue
        if not started or is_alive(int(path.name), started):  # an empty file is one that is being written
            return True
    return False


def usable_cores() -> int:
    """Cores that this process may really use: its affinity and a container's quota count, not the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup, or "max": no quota
        return cores


def free_ports(count: int) -> list[int]:
    """Different ports of this machine that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
