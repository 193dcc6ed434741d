"""Run one program on its question's example tests in the sandbox, and report the result."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sdg_helpers.coding.checkers import CHECKER_FAILED, judge_output
from sdg_helpers.coding.drivers import NO_FUNCTION_EXIT_CODE, run_command, uses_threads, write_program
from sdg_helpers.coding.outputs import same_output, same_value
from sdg_helpers.coding.procedures import COMPARED, INTERACTIVE, NO_USABLE_TESTS, UNREADABLE_TESTS, Procedure
from sdg_helpers.coding.sandbox import NOBODY, Sandbox
from sdg_helpers.coding.sandboxed_process import Outcome, RunLimits

PASSED = "tests"
# Why a program does not pass: the reason of the first test that it fails, or why it is undecided.
REASONS = (
    "compile_error",
    "wrong_output",
    "crashed",
    "time_limit",
    "memory_limit",
    "output_limit",
    "process_limit",
    "missing_module",
    CHECKER_FAILED,
    "no_function",
    INTERACTIVE,
    UNREADABLE_TESTS,
    NO_USABLE_TESTS,
)
# The reasons that leave a program undecided: they say nothing about it.
UNDECIDED = {"missing_module", CHECKER_FAILED, "no_function", INTERACTIVE, UNREADABLE_TESTS, NO_USABLE_TESTS}
COMPILER_LIMITS = RunLimits(seconds=20, memory_mb=1536, files_mb=64)
_FINAL_REASONS = {"time_limit", "memory_limit", "output_limit", "process_limit", *UNDECIDED}


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
    sandbox: Sandbox,
    program: str,
    language: str,
    tests: Sequence[Mapping[str, str]],
    limits: RunLimits,
    question: str = "",
    procedure: Procedure = COMPARED,
) -> Report:
    """Compile a C++ program, run it on every test and judge its output. Stop after a test that exceeds a limit.

    question: its text says how numbers and letters are compared. procedure: how the tests are run and judged.
    """
    if procedure.undecided:
        return Report(procedure.undecided, 0, len(tests), "")
    limits = procedure.limits(limits, language)
    with _program_folder() as folder:
        write_program(folder, program, language, procedure)
        failed = _compile_program(sandbox, folder) if language == "cpp" else None
        if failed is not None:
            return Report("compile_error", 0, len(tests), _tail(failed.stderr))
        command = run_command(sandbox, language, procedure, limits, uses_threads(program))
        first, passed = ("", ""), 0
        for number, test in enumerate(tests, 1):
            outcome = sandbox.run(command, folder, limits, test["input"].encode("utf-8", "replace"))
            reason = _failure(outcome, procedure) or _judge(sandbox, outcome.stdout, test, question, procedure)
            passed += not reason
            if reason and not first[0]:
                first = reason, f"test {number}{_describe(outcome, reason)}"
            if reason in _FINAL_REASONS:
                break
    return Report(first[0] or PASSED, passed, len(tests), first[1])


def can_run(sandbox: Sandbox, language: str) -> bool:
    """Return whether this machine can run programs in this language."""
    return language == "python" or sandbox.compiler is not None


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


def _failure(outcome: Outcome, procedure: Procedure) -> str:
    """Return why a run failed by itself, whatever it printed, or ""."""
    if procedure.function and outcome.exit_code == NO_FUNCTION_EXIT_CODE:
        return "no_function"
    return outcome.reason


def _judge(sandbox: Sandbox, stdout: bytes, test: Mapping[str, str], question: str, procedure: Procedure) -> str:
    """Return "" for a right output, else the reason."""
    if procedure.checker:
        with _program_folder() as folder:
            return judge_output(sandbox, folder, procedure.checker, test, stdout)
    found = stdout.decode("utf-8", "replace")
    if procedure.function:
        return "" if _same_result(found, test["output"], question) else "wrong_output"
    return "" if same_output(found, test["output"], question) else "wrong_output"


def _same_result(found: str, expected: str, question: str) -> bool:
    """Compare two JSON texts as values."""
    try:
        return same_value(json.loads(found), json.loads(expected), question)
    except (ValueError, RecursionError):
        return found.strip() == expected.strip()


def _compile_program(sandbox: Sandbox, folder: Path) -> Outcome | None:
    """Compile the written C++ program; return the outcome only when that fails."""
    outcome = _compile(sandbox, folder, "gnu++20")
    # programs written for an older standard may define names that a later one reserves, such as `byte` or `size`
    if outcome.reason and (outcome.reason != "crashed" or _compile(sandbox, folder, "gnu++14").reason):
        return outcome
    return None


def _compile(sandbox: Sandbox, folder: Path, standard: str) -> Outcome:
    """Compile /program/main.cpp as contest judges do: GNU extensions allowed, ONLINE_JUDGE defined."""
    command = [
        sandbox.compiler or "g++",
        f"-std={standard}",
        "-DONLINE_JUDGE",
        "-D__int64=long long",
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
