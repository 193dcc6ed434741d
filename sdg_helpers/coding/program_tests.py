"""Run one program on its question's example tests in the sandbox, and report the result."""

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
# Why a program fails: the reason of the first test that it does not pass.
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
COMPILER_LIMITS = RunLimits(seconds=20, memory_mb=1536, files_mb=64)
_FINAL_REASONS = {"time_limit", "memory_limit", "output_limit", "process_limit", "missing_module"}
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Report:
    """The result of a program's tests.

    reason: "tests" if it passes all of them, else one of REASONS. passed: tests passed before stopping. tests: all
    tests. detail: the first failed test and the program's own output there, which is untrusted text.
    """

    reason: str
    passed: int
    tests: int
    detail: str


def run_tests(
    sandbox: Sandbox, program: str, language: str, tests: Sequence[Mapping[str, str]], limits: RunLimits
) -> Report:
    """Compile a C++ program, run it on every test and compare its output. Stop after a test that exceeds a limit."""
    with _program_folder() as folder:
        command, failed = _prepare(sandbox, folder, program, language)
        if failed is not None:
            return Report("compile_error", 0, len(tests), _tail(failed.stderr))
        first, passed = ("", ""), 0
        for number, test in enumerate(tests, 1):
            outcome = sandbox.run(command, folder, limits, test["input"].encode("utf-8", "replace"))
            reason = outcome.reason or _compare_output(outcome.stdout, test["output"])
            passed += not reason
            if reason and not first[0]:
                first = reason, f"test {number}{_describe(outcome, reason)}"
            if reason in _FINAL_REASONS:
                break
    return Report(first[0] or PASSED, passed, len(tests), first[1])


def can_run(sandbox: Sandbox, language: str) -> bool:
    """Return whether this machine can run programs in this language."""
    return language == "python" or sandbox.compiler is not None


def same_output(found: str, expected: str) -> bool:
    """Return whether two outputs have the same words on the same lines.

    White space between words and at the end is ignored. Where the expected word has a decimal point, numbers may differ
    by one in a million, as contest judges allow.
    """
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


def _compare_output(stdout: bytes, expected: str) -> str:
    return "" if same_output(stdout.decode("utf-8", "replace"), expected) else "wrong_output"


@contextmanager
def _program_folder() -> Iterator[Path]:
    """Make a temporary folder that the sandbox's user can read, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sdg-program-"))
    try:
        folder.chmod(0o755)
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(sandbox: Sandbox, folder: Path, program: str, language: str) -> tuple[list[str], Outcome | None]:
    """Return (command to run the program, None), or ([], outcome of the failed compilation)."""
    source = folder / ("main.py" if language == "python" else "main.cpp")
    source.write_bytes(program.encode("utf-8", "replace"))
    if language == "python":
        return [sandbox.python, "-I", "-B", "/program/main.py"], None
    outcome = _compile(sandbox, folder, "gnu++20")
    # programs written for an older standard may define names that a later one reserves, such as `byte` or `size`
    if outcome.reason and (outcome.reason != "crashed" or _compile(sandbox, folder, "gnu++14").reason):
        return [], outcome
    return ["/program/main"], None


def _compile(sandbox: Sandbox, folder: Path, standard: str) -> Outcome:
    """Compile /program/main.cpp as contest judges do: GNU extensions allowed, ONLINE_JUDGE defined."""
    command = [
        sandbox.compiler or "g++",
        f"-std={standard}",
        "-DONLINE_JUDGE",
        "-O2",
        "-w",
        "-o",
        "/program/main",
        "/program/main.cpp",
    ]
    return sandbox.run(command, folder, COMPILER_LIMITS, writable=True)


def _describe(outcome: Outcome, reason: str) -> str:
    return (
        f" printed: {_tail(outcome.stdout) or 'nothing'}" if reason == "wrong_output" else f": {_tail(outcome.stderr)}"
    )


def _tail(text: bytes) -> str:
    return text.decode("utf-8", "replace").strip()[-300:]
