"""Run a program on its problem's example tests in the sandbox, and say how it went."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sdg_helpers.coding.sandbox import NOBODY, Sandbox
from sdg_helpers.coding.sandboxed_process import Outcome, RunLimits

PASSED = "tests"
# How a program fails: the reason of its first test that does not pass.
REASONS = (
    "compile_error",
    "wrong_output",
    "crashed",
    "time_limit",
    "memory_limit",
    "output_limit",
    "process_limit",
    "missing_module",
)
# What the compiler may use.
COMPILING = RunLimits(seconds=20, memory_mb=1536, files_mb=64)
_STOPS = {"time_limit", "memory_limit", "output_limit", "process_limit", "missing_module"}
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Report:
    """What came of a program's tests. reason: "tests" when it passes all, else one of REASONS; detail: which test,
    and what was seen (text of the program's own: hostile)."""

    reason: str
    passed: int
    tests: int
    detail: str


def run_tests(
    sandbox: Sandbox, program: str, language: str, tests: Sequence[Mapping[str, str]], limits: RunLimits
) -> Report:
    """Compile if need be, then run on every test: input in, output compared. A test that hits a limit is the last."""
    with _folder() as folder:
        command, failed = _prepared(sandbox, folder, program, language)
        if failed is not None:
            return Report("compile_error", 0, len(tests), _tail(failed.stderr))
        first, passed = ("", ""), 0
        for number, test in enumerate(tests, 1):
            outcome = sandbox.run(command, folder, limits, test["input"].encode("utf-8", "replace"))
            reason = outcome.reason or _compared(outcome.stdout, test["output"])
            passed += not reason
            if reason and not first[0]:
                first = reason, f"test {number}{_seen(outcome, reason)}"
            if reason in _STOPS:
                break
    return Report(first[0] or PASSED, passed, len(tests), first[1])


def can_run(sandbox: Sandbox, language: str) -> bool:
    """Whether this machine has what the language needs."""
    return language == "python" or sandbox.compiler is not None


def same_output(found: str, expected: str) -> bool:
    """Equal words in equal lines. Blanks at the ends do not count, and numbers with a decimal point may differ by one
    in a million, as judges of contests allow."""
    ours, theirs = ([line.split() for line in text.rstrip().split("\n")] for text in (found, expected))
    return ours == theirs or (
        len(ours) == len(theirs)
        and all(len(a) == len(b) and all(map(_same_word, a, b)) for a, b in zip(ours, theirs, strict=True))
    )


def _same_word(found: str, expected: str) -> bool:
    if found == expected:
        return True
    if "." not in expected or len(found) > 64:
        return False
    try:
        a, b = float(found), float(expected)
    except ValueError:
        return False
    return abs(a - b) <= _TOLERANCE * max(1.0, abs(b))


def _compared(stdout: bytes, expected: str) -> str:
    return "" if same_output(stdout.decode("utf-8", "replace"), expected) else "wrong_output"


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sdg-program-"))
    try:
        folder.chmod(0o755)
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepared(sandbox: Sandbox, folder: Path, program: str, language: str) -> tuple[list[str], Outcome | None]:
    """(the command to run it, None) or ([], how compiling failed)."""
    source = folder / ("main.py" if language == "python" else "main.cpp")
    source.write_bytes(program.encode("utf-8", "replace"))
    if language == "python":
        return [sandbox.python, "-I", "-B", "/program/main.py"], None
    outcome = _compiled(sandbox, folder, "gnu++20")
    # names of later standards, as `byte` and `size`, are in the way of programs written for an older one
    if outcome.reason and (outcome.reason != "crashed" or _compiled(sandbox, folder, "gnu++14").reason):
        return [], outcome
    return ["/program/main"], None


def _compiled(sandbox: Sandbox, folder: Path, standard: str) -> Outcome:
    """As the judges of contests compile: GNU's words allowed, and ONLINE_JUDGE defined."""
    command = [
        sandbox.compiler,
        f"-std={standard}",
        "-DONLINE_JUDGE",
        "-O2",
        "-w",
        "-o",
        "/program/main",
        "/program/main.cpp",
    ]
    return sandbox.run(command, folder, COMPILING, writable=True)


def _seen(outcome: Outcome, reason: str) -> str:
    return (
        f" printed: {_tail(outcome.stdout) or 'nothing'}" if reason == "wrong_output" else f": {_tail(outcome.stderr)}"
    )


def _tail(text: bytes) -> str:
    return text.decode("utf-8", "replace").strip()[-300:]
