"""Run programs that a model wrote and nobody has read: inside bubblewrap namespaces, with every resource limited.

How a program travels from a question to a verdict:

1. questions.py writes a question to problems.jsonl and its example tests to tests.jsonl; the model solves it.
2. filtering.py takes the program out of the solution (blocks.py) and drops it if it cannot work (python_programs.py,
   cpp_programs.py). It is not run for that.
3. checks.py hands each distinct program with its tests to program_tests.py, which writes it to a temporary folder,
   compiles it if it is C++, and runs it once per test.
4. `Sandbox.run` here starts each run inside bubblewrap (sandbox_start.py) with a filter on system calls (syscalls.py),
   a limit on all its memory where the machine allows one (memory_groups.py) and no keys of ours (keyrings.py);
   sandboxed_process.py feeds it the test's input, reads its output, and kills it when it exceeds a limit. The result
   is an `Outcome`.
5. program_tests.py compares the output with the expected one and makes a `Report`; checks.py turns it into a verdict.

A program sees /usr read-only, its own folder read-only at /program, and an empty /work in memory. It has no network and
sees no other process and no user's files. Without bubblewrap nothing is run.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import orjson

from sdg_helpers.coding.memory_groups import memory_group
from sdg_helpers.coding.sandbox_start import NOBODY, Start
from sdg_helpers.coding.sandboxed_process import Outcome, RunLimits, watch
from sdg_helpers.coding.syscalls import denied_calls
from sdg_helpers.errors import SdgError

_GRACE_S = 5  # after our own time limit should have killed a sandbox, it kills itself
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/etc/alternatives", "/etc/ld.so.cache")
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/work",
    "TMPDIR": "/work",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_WAYS_OUT = (
    "Install bubblewrap 0.8 or later (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install "
    "bubblewrap) on a Linux that allows user namespaces, or continue without running programs (CHECK no)."
)
_PROBE = Path(__file__).with_name("sandbox_probe.py")


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that has been tested on this machine. `open_sandbox` returns one.

    python: the interpreter that runs programs; compiler: path of the C++ compiler, or None.
    """

    bwrap: str
    python: str
    python_version: str
    compiler: str | None

    def run(
        self, command: Sequence[str], folder: Path, limits: RunLimits, data: bytes = b"", writable: bool = False
    ) -> Outcome:
        """Run a command in /work with `folder` mounted at /program and `data` as its input; wait for its end.

        writable: mount the folder read-write, for a compiler's output. No process is left when this returns.
        Raises SdgError when bubblewrap could not start the command, which says nothing about the program.
        """
        with memory_group((limits.memory_mb + limits.files_mb) << 20) as group, Start() as start:
            with start.process(self._command(command, folder, limits, writable, start.options)) as process:
                try:
                    start.release(group)
                except BaseException:
                    process.kill()
                    raise
                outcome = watch(process, limits, data)
            if group is not None and group.exceeded():
                outcome = replace(outcome, reason="memory_limit")
            started = outcome.exit_code < 0 or start.has_run()
        if not started:
            raise SdgError(
                f"sandbox: bubblewrap could not start a program in {folder}: {_stderr_tail(outcome)}. "
                "No verdict was recorded for the program: fix the cause and run again."
            )
        return outcome

    def check_limits(self, limits: RunLimits) -> None:
        """Raise SdgError when even a one-line program cannot run within these limits on this machine."""
        outcome = self.run([self.python, "-I", "-c", "print(1)"], Path("/usr/share"), limits)
        if outcome.reason:
            raise SdgError(
                f"sandbox: a one-line program does not run within {limits} ({outcome.reason}: "
                f"{_stderr_tail(outcome)}). Raise these limits, or those of this account (ulimit -H)."
            )

    def _command(
        self,
        command: Sequence[str],
        folder: Path,
        limits: RunLimits,
        writable: bool,
        pipes: Sequence[tuple[object, ...]],
    ) -> list[str]:
        options: list[tuple[object, ...]] = [
            *pipes,
            ("--unshare-all",),
            ("--unshare-user",),
            ("--disable-userns",),
            ("--die-with-parent",),
            ("--new-session",),
            ("--uid", NOBODY),
            ("--gid", NOBODY),
            ("--cap-drop", "ALL"),
            ("--hostname", "sandbox"),
            *_system_mounts(self.python),
            ("--proc", "/proc"),
            ("--dev", "/dev"),
            ("--remount-ro", "/dev"),
            ("--bind" if writable else "--ro-bind", folder, "/program"),
            ("--size", limits.files_mb << 20, "--tmpfs", "/work"),
            ("--chdir", "/work"),
            ("--remount-ro", "/"),
            ("--clearenv",),
            *(("--setenv", name, value) for name, value in _ENVIRONMENT.items()),
        ]
        return [self.bwrap, *(str(word) for option in options for word in option), "--", *_limiter(limits), *command]


def open_sandbox() -> Sandbox:
    """Return the sandbox of this machine, after testing that it really blocks files, network and processes.

    Raises SdgError, which says what is missing, when programs cannot be run safely here.
    """
    bwrap = shutil.which("bwrap")
    missing = [name for name in ("bwrap", "prlimit", "timeout") if not shutil.which(name)]
    if bwrap is None or missing:
        raise SdgError(
            f"sandbox: {' and '.join(missing)} not found on this machine. A model's programs are not run without a "
            f"sandbox. {_WAYS_OUT}"
        )
    return _tested_sandbox(bwrap)


@cache
def _tested_sandbox(bwrap: str) -> Sandbox:
    failure = ""
    program, calls = _PROBE.read_text(encoding="utf-8"), json.dumps(denied_calls())
    for python in dict.fromkeys((_interpreter(), "/usr/bin/python3")):
        sandbox = Sandbox(bwrap, python, "", None)
        try:
            outcome = sandbox.run(
                [python, "-I", "-c", program, str(Path.home()), str(os.getpid()), calls],
                Path("/usr/share"),
                RunLimits(),
            )
        except SdgError as error:
            failure = str(error)
            continue
        if outcome.reason:
            failure = f"{outcome.reason}: {_stderr_tail(outcome)}"
            continue
        found = orjson.loads(outcome.stdout)
        if broken := [name for name, holds in found.items() if not holds]:
            raise SdgError(
                f"sandbox: bubblewrap does not isolate programs on this machine (failed: {', '.join(broken)}). "
                f"A model's programs are not run here. {_WAYS_OUT}"
            )
        compiler = shutil.which("g++")
        return Sandbox(bwrap, python, found["python"], os.path.realpath(compiler) if compiler else None)
    raise SdgError(
        f"sandbox: bubblewrap cannot run a small test program ({failure}). A model's programs are not run without a "
        f"sandbox. {_WAYS_OUT}"
    )


def _stderr_tail(outcome: Outcome) -> str:
    return outcome.stderr.decode("utf-8", "replace").strip()[-300:]


def _interpreter() -> str:
    return os.path.realpath(Path(sys.base_prefix) / "bin" / "python3")


def _system_mounts(python: str) -> list[tuple[object, ...]]:
    """Return the options that mount the system's programs and libraries, and the interpreter's own folder."""
    mounts: list[tuple[object, ...]] = []
    for path in _SYSTEM:
        if os.path.islink(path):
            mounts.append(("--symlink", os.readlink(path), path))
        elif os.path.exists(path):
            mounts.append(("--ro-bind", path, path))
    prefix = str(Path(python).parent.parent)
    return mounts if prefix.startswith("/usr") else [*mounts, ("--ro-bind", prefix, prefix)]


def _limiter(limits: RunLimits) -> list[str]:
    """Return the command that sets the limits and then runs the program.

    It runs inside the sandbox, where processes are counted for this sandbox alone. `timeout` (one more process) is for
    an abandoned sandbox: if we are killed just before bwrap asks to die with its parent, nobody else ends it.
    """
    memory, seconds = limits.memory_mb << 20, int(limits.seconds + 0.999)
    hard_stack = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = memory if hard_stack == resource.RLIM_INFINITY else min(memory, hard_stack)
    return [
        "/usr/bin/timeout",
        "--signal=KILL",
        f"{limits.clock_s + _GRACE_S:.0f}",
        "/usr/bin/prlimit",
        f"--nproc={limits.processes + 1}",
        f"--as={memory}",
        f"--cpu={seconds}:{seconds + 1}",
        f"--fsize={limits.files_mb << 20}",
        "--core=0",
        "--nofile=64",
        f"--stack={stack // 2}",
        "--",
    ]
