"""Watch one sandboxed process: write its input, read its outputs, and kill it when it exceeds a limit.

This is the last step of a program's way from a question to a verdict, which sandbox.py explains.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

from sdg_helpers.errors import SdgError

_POLL_S = 0.1  # how often the clock and the memory are checked
_DRAIN_DEADLINE_S = 10.0  # longest time between the end of a process and the end of its children
_MAX_FILES = 10_000  # in a program's working folder
_STDERR_TAIL_BYTES = 8192
_PIPE_BYTES = 1 << 16  # most bytes moved through a pipe at once
_REASON_BY_EXIT_CODE = {152: "time_limit", 153: "output_limit"}  # 128 + SIGXCPU, SIGXFSZ
_REASON_BY_STDERR = (
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
    """What one run may use.

    seconds: processor time; the limit on elapsed time is twice that plus 2 s. memory_mb: for each process, and for all
    processes together. processes: running at the same time. files_mb: written to its working folder. output_mb:
    printed to stdout, and as much to stderr.
    """

    seconds: float = 5.0
    memory_mb: int = 512
    processes: int = 32
    files_mb: int = 16
    output_mb: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise SdgError(f"{name}: must be greater than 0, found {value!r}.")

    @property
    def clock_s(self) -> float:
        """The longest that one run may take, in seconds of elapsed time."""
        return 2 * self.seconds + 2


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    reason: "" when the process exited with code 0; otherwise time_limit, memory_limit, output_limit, process_limit,
    missing_module or crashed. stderr: the last 8 KB. seconds: elapsed time.
    """

    reason: str
    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float


def watch(process: subprocess.Popen[bytes], limits: RunLimits, data: bytes = b"") -> Outcome:
    """Run a process to its end or to its first exceeded limit, with `data` as its input.

    The process must have pipes for stdin, stdout and stderr, and its end must be the end of its children (it is the
    first process of a PID namespace): all of them are gone when this returns. Raises SdgError when they are not.
    """
    start = time.monotonic()
    pipes = _Pipes(process, data)
    with pipes.selector:
        try:
            reason = _wait(process, pipes, limits, start)
        finally:
            process.kill()
            process.wait()
        pipes.drain()
    seconds, exit_code = time.monotonic() - start, process.returncode
    return Outcome(
        reason or _classify_exit(exit_code, bytes(pipes.stderr), seconds, limits),
        exit_code,
        bytes(pipes.stdout),
        bytes(pipes.stderr),
        seconds,
    )


class _Pipes:
    """The pipes of a process: input not yet written, and what has been read of its outputs."""

    def __init__(self, process: subprocess.Popen[bytes], data: bytes):
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("the process needs pipes for stdin, stdout and stderr")
        self._stdin, self._stdout = process.stdin, process.stdout
        self._unwritten = memoryview(data)
        self.stdout, self.stderr, self.stderr_bytes = bytearray(), bytearray(), 0
        self.selector = selectors.DefaultSelector()
        for pipe, event in (
            (process.stdin, selectors.EVENT_WRITE),
            (process.stdout, selectors.EVENT_READ),
            (process.stderr, selectors.EVENT_READ),
        ):
            os.set_blocking(pipe.fileno(), False)
            self.selector.register(pipe, event)

    def any_open(self) -> bool:
        """Return whether any pipe is open."""
        return bool(self.selector.get_map())

    def outputs_open(self) -> bool:
        """Return whether stdout or stderr is open."""
        return any(key.fileobj is not self._stdin for key in self.selector.get_map().values())

    def transfer(self) -> None:
        """Wait up to _POLL_S for a pipe, then move one portion through each one that is ready."""
        for key, _ in self.selector.select(_POLL_S):
            if key.fileobj is self._stdin:
                self._write_input()
            else:
                self._read_output(key)

    def _write_input(self) -> None:
        try:
            self._unwritten = self._unwritten[os.write(self._stdin.fileno(), self._unwritten[:_PIPE_BYTES]) :]
        except BrokenPipeError:
            self._unwritten = self._unwritten[:0]
        except BlockingIOError:
            return
        if not self._unwritten:
            self.selector.unregister(self._stdin)
            self._stdin.close()

    def _read_output(self, key: selectors.SelectorKey) -> None:
        portion = os.read(key.fd, _PIPE_BYTES)
        if not portion:
            self.selector.unregister(key.fileobj)
            return
        if key.fileobj is self._stdout:
            self.stdout += portion
        else:
            self.stderr_bytes += len(portion)
            self.stderr[:] = (self.stderr + portion)[-_STDERR_TAIL_BYTES:]

    def drain(self) -> None:
        """Discard output until no process holds the pipes: then every process of the sandbox is gone."""
        deadline = time.monotonic() + _DRAIN_DEADLINE_S
        if not self._stdin.closed:
            self.selector.unregister(self._stdin)
            with suppress(OSError):
                self._stdin.close()
        while self.any_open() and time.monotonic() < deadline:
            for key, _ in self.selector.select(_POLL_S):
                if not os.read(key.fd, _PIPE_BYTES):
                    self.selector.unregister(key.fileobj)
        if self.any_open():
            raise SdgError(
                f"sandbox: some processes of a program are still running {_DRAIN_DEADLINE_S:g} s after it was killed. "
                "No more programs are run: look at the processes of this machine, end those, then run again."
            )


def _wait(process: subprocess.Popen[bytes], pipes: _Pipes, limits: RunLimits, start: float) -> str:
    """Wait until the process has ended (return "") or exceeds a limit (return the reason to kill it)."""
    deadline, memory_checked = start + limits.clock_s, start
    while process.poll() is None or pipes.outputs_open():
        if pipes.any_open():
            pipes.transfer()
        else:  # it has closed its outputs and is still running
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
        if max(len(pipes.stdout), pipes.stderr_bytes) > limits.output_mb << 20:
            return "output_limit"
        now = time.monotonic()
        if now > deadline:
            return "time_limit"
        if now - memory_checked > _POLL_S:
            memory_checked = now
            if _memory_bytes(process.pid) > limits.memory_mb << 20:
                return "memory_limit"
            if _file_count(process.pid) > _MAX_FILES:
                return "output_limit"
    return ""


def _memory_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants, and what their sockets may hold."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        children = process.children(recursive=True)
        for one in (process, *children):
            with suppress(psutil.Error):
                total += one.memory_info().rss
        if children:
            total += _socket_bytes(children[0].pid)
    return total


def _socket_bytes(pid: int) -> int:
    """Return how many bytes may wait in the Unix sockets of this process's network namespace."""
    try:
        with open(f"/proc/{pid}/net/unix", "rb") as table, open("/proc/sys/net/core/wmem_default", "rb") as buffer:
            return (sum(1 for _ in table) - 1) * int(buffer.read())
    except OSError:  # it has just ended
        return 0


def _file_count(pid: int) -> int:
    """Return how many files and folders a sandbox has created: in memory, even empty ones cost about 1 KB each."""
    with suppress(psutil.Error, IndexError, OSError):
        folder = f"/proc/{psutil.Process(pid).children()[0].pid}/root/work"
        if os.stat(folder).st_dev != os.stat("/").st_dev:  # not yet mounted, at the very start
            status = os.statvfs(folder)
            return status.f_files - status.f_ffree
    return 0


def _classify_exit(exit_code: int, stderr: bytes, seconds: float, limits: RunLimits) -> str:
    """Return why a process that we did not kill failed, or "" when it did not."""
    if exit_code == 0:
        return ""
    if exit_code in _REASON_BY_EXIT_CODE:
        return _REASON_BY_EXIT_CODE[exit_code]
    if exit_code == 137 and seconds >= limits.seconds:  # it ignored SIGXCPU, the first signal of its time limit
        return "time_limit"
    return next((reason for words, reason in _REASON_BY_STDERR if words in stderr), "crashed")
