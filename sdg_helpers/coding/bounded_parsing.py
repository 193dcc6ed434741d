"""Look for the flaw of a program in a child process with a limit on its time and memory.

The parsers are written in C and cannot be interrupted, and a hostile program can take them hours or gigabytes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO

from sdg_helpers.coding import cpp_programs, python_programs
from sdg_helpers.errors import SdgError

CPU_S, MEMORY_BYTES = 10, 2 << 30  # of one program; real ones take milliseconds and megabytes
_READY = b"ready\n"
_OVERLOADED = {-signal.SIGXCPU, -signal.SIGSEGV, -signal.SIGABRT}  # how a parser dies of its program
_lock = threading.Lock()
_child: _Child | None = None


def find_flaw(program: str, language: str, function: str = "") -> str:
    """Return why a program cannot work, or "". A program that is too much for the parser is "too_long".

    function: as in python_programs.find_flaw.

    Raises SdgError when the child process does not start, or is killed twice from outside.
    """
    with _lock:
        for _ in range(2):
            child = _running_child()
            reply = child.ask(program, language, function)
            if reply is not None:
                return reply
            if child.process.wait() in _OVERLOADED:
                return "too_long"
    raise SdgError(
        f"the process that checks programs was killed twice (exit code {child.process.returncode}); the machine may be "
        "out of memory. Run again to resume."
    )


def _running_child() -> _Child:
    global _child
    if _child is None or _child.owner != os.getpid() or _child.process.poll() is not None:
        _child = _Child()
    return _child


class _Child:
    """A process that answers one request at a time, and ends when its standard input does."""

    def __init__(self) -> None:
        self.owner = os.getpid()  # a fork must not share the pipes
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(CPU_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self._pipe(self.process.stdout).readline() != _READY:
            said = self._pipe(self.process.stderr).read().decode("utf-8", "replace").strip()
            raise SdgError(f"the process that checks programs does not start: {said[-300:] or 'no explanation'}.")

    def ask(self, program: str, language: str, function: str) -> str | None:
        """Return the flaw, or None when the process dies."""
        data = program.encode("utf-8", "surrogatepass")
        try:
            pipe = self._pipe(self.process.stdin)
            pipe.write(json.dumps([language, function, len(data)]).encode() + b"\n" + data)
            pipe.flush()
        except BrokenPipeError:
            return None
        reply = self._pipe(self.process.stdout).readline().decode()
        return reply[:-1] if reply.endswith("\n") else None

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def serve(requests: IO[bytes], replies: IO[bytes], cpu_s: int) -> None:
    """Answer requests with a line each, until they end: a line of JSON (language, function, size), then the program."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    replies.write(_READY)
    replies.flush()
    while header := requests.readline():
        language, function, size = json.loads(header)
        program = requests.read(size).decode("utf-8", "surrogatepass")
        _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + cpu_s)
        flaw = python_programs.find_flaw(program, function) if language == "python" else cpp_programs.find_flaw(program)
        replies.write(flaw.encode() + b"\n")
        replies.flush()


def _limit(kind: int, value: int) -> None:
    with suppress(ValueError, OSError):  # macOS has no limit of memory
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
