"""Processes of this machine: whether one is alive, which ones own a server, usable cores, free ports and signals."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType

from sdg_helpers.errors import SdgError


def start_time(pid: int) -> str | None:
    """Return when a live process started, as an opaque text that differs when the pid is reused; None when it is gone.

    A zombie (dead, but not yet reaped by its parent) counts as gone. The text is ticks since boot on Linux, which
    clock changes do not affect, and psutil's creation time elsewhere.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # skip the name, which may contain spaces
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (FileNotFoundError, ProcessLookupError):
        pass
    if os.path.exists("/proc/self/stat"):
        return None
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.NoSuchProcess:
        return None


@cache
def process_space() -> str:
    """Return 12 hex digits that identify the process ids that this process sees: this boot and PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        seen = f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        seen = socket.gethostname()
    return hashlib.blake2b(seen.encode(), digest_size=6).hexdigest()


def is_alive(pid: int, started: str) -> bool:
    """Return whether the process with this pid and start time is alive."""
    return start_time(pid) == started


def owner_pid() -> int:
    """Return the process that owns the servers opened here: the driver named by SDG_OWNER_PID, else this process.

    Raises SdgError when SDG_OWNER_PID is not a running process.
    """
    value = os.environ.get("SDG_OWNER_PID", "").strip()
    if not value:
        return os.getpid()
    if not value.isdecimal() or start_time(int(value)) is None:
        raise SdgError(
            f"SDG_OWNER_PID={value} is not a running process (it names the driver that will stop the servers). Unset "
            "SDG_OWNER_PID, or start the driver again."
        )
    return int(value)


def register_owner(folder: Path, pid: int) -> None:
    """Record in a server's owners folder that this process needs the server."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(pid)).write_text(start_time(pid) or "", encoding="ascii")


def remove_owner(folder: Path, pid: int) -> None:
    """Record in a server's owners folder that this process no longer needs the server."""
    (folder / str(pid)).unlink(missing_ok=True)


def any_owner_alive(folder: Path) -> bool:
    """Return whether a process registered in a server's owners folder is alive."""
    for path in folder.glob("[0-9]*"):
        try:
            started = path.read_text(encoding="ascii")
        except FileNotFoundError:
            continue
        if not started or is_alive(int(path.name), started):  # an empty file is still being written
            return True
    return False


def usable_cores() -> int:
    """Return how many cores this process may use, given its CPU affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup, or its quota is "max"
        return cores


def free_ports(count: int) -> list[int]:
    """Return distinct ports of this machine that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class SignalReceived(KeyboardInterrupt):
    """A signal other than Ctrl-C asked the driver to stop (from Slurm, `kill` or a closed terminal)."""


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C, so that what is open is closed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise SignalReceived(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
