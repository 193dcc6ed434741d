"""Watch a confined process: feed it, read it, and end it when it takes more than it may."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from sdg_helpers.errors import SdgError

_LOOK_S = 0.1  # how often time and memory are looked at
_END_S = 10.0  # longest time from the end of a process until its pipes are closed
_KEPT_STDERR = 8192  # bytes, of the end
_KILLED = {152: "time_limit", 153: "output_limit"}  # 128 + SIGXCPU, SIGXFSZ
_TOLD = (
    (b"MemoryError", "memory_limit"),
    (b"std::bad_alloc", "memory_limit"),
    (b"Cannot allocate memory", "memory_limit"),
    (b"File too large", "output_limit"),
    (b"No space left on device", "output_limit"),
    (b"Resource temporarily unavailable", "process_limit"),
    (b"can't start new thread", "process_limit"),
    (b"ModuleNotFoundError", "missing_module"),
)


@dataclass(frozen=True)
class RunLimits:
    """What one run may use. seconds: of processor time; on the clock it is twice that and 2 more. memory_mb: of each
    process, and of all together. files_mb: what it may write in its own folder. output_mb: what it may print."""

    seconds: float = 5.0
    memory_mb: int = 512
    processes: int = 32
    files_mb: int = 16
    output_mb: int = 4

    def __post_init__(self) -> None:
        for name in ("seconds", "memory_mb", "processes", "files_mb", "output_mb"):
            if not getattr(self, name) > 0:
                raise SdgError(f"{name}: expected a number above 0, found {getattr(self, name)!r}.")

    @property
    def clock_s(self) -> float:
        """The longest that one run may take."""
        return 2 * self.seconds + 2


@dataclass(frozen=True)
class Outcome:
    """How a run ended. reason: "" when it ended by itself without an error, else time_limit, memory_limit,
    output_limit, process_limit, missing_module or crashed; stderr: its end only."""

    reason: str
    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float


@dataclass
class _Talk:
    """What goes in and comes out."""

    data: memoryview
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    printed: int = 0


def watch(process: subprocess.Popen, limits: RunLimits, data: bytes = b"") -> Outcome:
    """Feed `data`, read both outputs, end the process at its limits; returns when it and all its children are gone.

    The process must be one whose end is the end of its children (the first of a process namespace).
    """
    start = time.monotonic()
    talk = _Talk(memoryview(data))
    with selectors.DefaultSelector() as selector:
        for stream, events in (
            (process.stdin, selectors.EVENT_WRITE),
            (process.stdout, selectors.EVENT_READ),
            (process.stderr, selectors.EVENT_READ),
        ):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, events)
        try:
            reason = _converse(process, selector, talk, limits, start)
        finally:
            process.kill()
            process.wait()
        _drain(selector, talk)
    seconds = time.monotonic() - start
    return Outcome(
        reason or _reason(process.returncode, bytes(talk.stderr), seconds, limits),
        process.returncode,
        bytes(talk.stdout),
        bytes(talk.stderr),
        seconds,
    )


def _converse(
    process: subprocess.Popen, selector: selectors.BaseSelector, talk: _Talk, limits: RunLimits, start: float
) -> str:
    """Until it ends by itself (""), or the reason to end it."""
    deadline, looked = start + limits.clock_s, start
    while process.poll() is None or any(key.fileobj is not process.stdin for key in selector.get_map().values()):
        if selector.get_map():
            for key, _ in selector.select(_LOOK_S):
                _move(process, selector, key.fileobj, talk)
        else:  # it has closed its outputs and goes on
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_S)
        if talk.printed > limits.output_mb << 20:
            return "output_limit"
        now = time.monotonic()
        if now > deadline:
            return "time_limit"
        if now - looked > _LOOK_S:
            looked = now
            if _memory(process.pid) > limits.memory_mb << 20:
                return "memory_limit"
    return ""


def _move(process: subprocess.Popen, selector: selectors.BaseSelector, stream, talk: _Talk) -> None:
    """One portion into or out of a pipe."""
    if stream is process.stdin:
        try:
            talk.data = talk.data[os.write(stream.fileno(), talk.data[: 1 << 16]) :]
        except BrokenPipeError:
            talk.data = talk.data[:0]
        except BlockingIOError:
            return
        if not talk.data:
            selector.unregister(stream)
            stream.close()
        return
    portion = os.read(stream.fileno(), 1 << 16)
    if not portion:
        selector.unregister(stream)
        return
    talk.printed += len(portion)
    if stream is process.stdout:
        talk.stdout += portion
    else:
        talk.stderr[:] = (talk.stderr + portion)[-_KEPT_STDERR:]


def _drain(selector: selectors.BaseSelector, talk: _Talk) -> None:
    """Wait until nobody holds the pipes any more: then every process of the sandbox is gone."""
    deadline = time.monotonic() + _END_S
    for key in list(selector.get_map().values()):
        if key.events == selectors.EVENT_WRITE:
            selector.unregister(key.fileobj)
            with suppress(OSError):
                key.fileobj.close()
    while selector.get_map() and time.monotonic() < deadline:
        for key, _ in selector.select(_LOOK_S):
            if not os.read(key.fd, 1 << 16):
                selector.unregister(key.fileobj)
    if selector.get_map():
        raise SdgError(
            f"sandbox: expected that a program's processes are gone {_END_S:g} s after its end, found that "
            "some are not. Nothing more is run: look at the processes of this machine."
        )


def _memory(pid: int) -> int:
    """Bytes in memory of a process and all below it."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def _reason(exit_code: int, stderr: bytes, seconds: float, limits: RunLimits) -> str:
    if exit_code == 0:
        return ""
    if exit_code in _KILLED:
        return _KILLED[exit_code]
    if exit_code == 137 and seconds >= limits.seconds:  # it did not heed the first signal of its time limit
        return "time_limit"
    return next((reason for words, reason in _TOLD if words in stderr), "crashed")
