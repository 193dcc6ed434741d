"""Run a program that nobody has read: in namespaces of its own, by bubblewrap, with limits on all that it can use.

A program sees /usr read-only, its own folder read-only at /program, and an empty /work in memory; no network, no other
process, no file of anybody. Without bubblewrap nothing is run.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from sdg_helpers.coding.sandboxed_process import Outcome, RunLimits, watch
from sdg_helpers.errors import SdgError

NOBODY = 65534
_LEFT_ALONE_S = 5  # after we should have ended it, a sandbox ends by itself
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/etc/alternatives", "/etc/ld.so.cache")
_WAYS_OUT = (
    "Install bubblewrap 0.8 or later (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install "
    "bubblewrap) on a Linux that allows user namespaces, or go on without running programs (CHECK no)."
)
_PROBE = """\
import os, socket, sys, json
def fails(action):
    try:
        action()
    except OSError:
        return True
    return False
print(json.dumps({
    "no_files": not os.path.exists(sys.argv[1]) and not os.path.exists("/etc/passwd"),
    "no_writing": all(fails(lambda: open(path, "w")) for path in ("/x", "/usr/x", "/dev/x", "/program/x")),
    "no_network": {name for _, name in socket.if_nameindex()} <= {"lo"},
    "no_root": os.getuid() != 0, "no_processes": os.getpid() < 10 and fails(lambda: os.kill(int(sys.argv[2]), 0)),
    "python": sys.version.split()[0]}))
"""


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that has been tried out on this machine: `open_sandbox` makes it."""

    bwrap: str
    python: str  # the interpreter that programs get
    python_version: str
    compiler: str | None  # of C++; None when there is none

    def run(
        self, command: Sequence[str], folder: Path, limits: RunLimits, data: bytes = b"", writable: bool = False
    ) -> Outcome:
        """Run a command in /work with `folder` as /program (writable: for a compiler's result) and `data` as its input.

        Returns when it has ended or was ended; nothing of it is left then. Raises SdgError when it could not even be
        begun: that says nothing of the program.
        """
        status, told = os.pipe()
        try:
            with subprocess.Popen(
                self._command(command, folder, limits, writable, told),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env={},
                pass_fds=(told,),
                start_new_session=True,
                **_somebody_else(),
            ) as process:
                outcome = watch(process, limits, data)
            os.close(told)
            told = -1
            begun = outcome.exit_code < 0 or b"exit-code" in os.read(status, 1 << 16)
        finally:
            for pipe in (status, told):
                if pipe >= 0:
                    os.close(pipe)
        if not begun:
            raise SdgError(
                f"sandbox: expected that bubblewrap begins a program in {folder}, found: "
                f"{_said(outcome)}. Nothing was decided about the program; mend that and run again."
            )
        return outcome

    def try_out(self, limits: RunLimits) -> None:
        """Raise SdgError when a program cannot be run within these limits on this machine, whatever it does."""
        outcome = self.run([self.python, "-I", "-c", "print(1)"], Path("/usr/share"), limits)
        if outcome.reason:
            raise SdgError(
                f"sandbox: expected that a program of one line runs within {limits}, found "
                f"{outcome.reason}: {_said(outcome)}. Give it more, or raise the limits of this account "
                "(ulimit -H)."
            )

    def _command(self, command: Sequence[str], folder: Path, limits: RunLimits, writable: bool, told: int) -> list[str]:
        return [
            self.bwrap,
            "--json-status-fd",
            str(told),
            "--unshare-all",
            "--unshare-user",
            "--disable-userns",
            "--die-with-parent",
            "--new-session",
            "--uid",
            str(NOBODY),
            "--gid",
            str(NOBODY),
            "--cap-drop",
            "ALL",
            "--hostname",
            "sandbox",
            *_system(self.python),
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--remount-ro",
            "/dev",
            "--bind" if writable else "--ro-bind",
            str(folder),
            "/program",
            "--size",
            str(limits.files_mb << 20),
            "--tmpfs",
            "/work",
            "--chdir",
            "/work",
            "--remount-ro",
            "/",
            "--clearenv",
            "--setenv",
            "PATH",
            "/usr/bin:/bin",
            "--setenv",
            "HOME",
            "/work",
            "--setenv",
            "TMPDIR",
            "/work",
            "--setenv",
            "LANG",
            "C.UTF-8",
            "--setenv",
            "OMP_NUM_THREADS",
            "1",
            "--setenv",
            "OPENBLAS_NUM_THREADS",
            "1",
            "--",
            *_limited(limits),
            *command,
        ]


def open_sandbox() -> Sandbox:
    """The sandbox of this machine, tried out: that it keeps files, network and processes away is seen, not assumed.

    Raises SdgError, with what is missing, when programs cannot be run safely here.
    """
    bwrap = shutil.which("bwrap")
    if missing := " and ".join(f"no {name}" for name in ("bwrap", "prlimit", "timeout") if not shutil.which(name)):
        raise SdgError(
            f"sandbox: expected the programs bwrap, prlimit and timeout, found {missing}. Programs of a "
            f"model are not run without them. {_WAYS_OUT}"
        )
    return _tried_out(bwrap)


@cache
def _tried_out(bwrap: str) -> Sandbox:
    told = ""
    for python in dict.fromkeys((_interpreter(), "/usr/bin/python3")):
        sandbox = Sandbox(bwrap, python, "", None)
        try:
            outcome = sandbox.run(
                [python, "-I", "-c", _PROBE, str(Path.home()), str(os.getpid())], Path("/usr/share"), RunLimits()
            )
        except SdgError as error:
            told = str(error)
            continue
        if outcome.reason:
            told = f"{outcome.reason}: {_said(outcome)}"
            continue
        found = orjson.loads(outcome.stdout)
        if broken := [name for name, kept in found.items() if not kept]:
            raise SdgError(
                f"sandbox: expected that bubblewrap keeps a program away from everything, found that it "
                f"does not ({', '.join(broken)}). Programs of a model are not run here. {_WAYS_OUT}"
            )
        compiler = shutil.which("g++")
        return Sandbox(bwrap, python, found["python"], os.path.realpath(compiler) if compiler else None)
    raise SdgError(
        f"sandbox: expected that bubblewrap can run a small program, found {told}. Programs of a model are "
        f"not run without it. {_WAYS_OUT}"
    )


def _said(outcome: Outcome) -> str:
    return outcome.stderr.decode("utf-8", "replace").strip()[-300:]


def _interpreter() -> str:
    return os.path.realpath(Path(sys.base_prefix) / "bin" / "python3")


def _system(python: str) -> list[str]:
    """What of the machine is seen: the system's programs and libraries, and the interpreter's own folder."""
    mounts: list[str] = []
    for path in _SYSTEM:
        if os.path.islink(path):
            mounts += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            mounts += ["--ro-bind", path, path]
    prefix = str(Path(python).parent.parent)
    return mounts if prefix.startswith("/usr") else [*mounts, "--ro-bind", prefix, prefix]


def _limited(limits: RunLimits) -> list[str]:
    """Limits are set inside, where processes are counted for this sandbox alone. `timeout`, one process more, is for a
    sandbox that is left alone: killed in the instant before bwrap asks to die with its parent, we end nothing."""
    memory, seconds = limits.memory_mb << 20, int(limits.seconds + 0.999)
    hard_stack = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = memory if hard_stack == resource.RLIM_INFINITY else min(memory, hard_stack)
    return [
        "/usr/bin/timeout",
        "--signal=KILL",
        f"{limits.clock_s + _LEFT_ALONE_S:.0f}",
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


def _somebody_else() -> dict[str, object]:
    """Root's processes are not counted by limits: as root, become nobody first."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
