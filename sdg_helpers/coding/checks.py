"""Code 04: run each distinct program on its question's example tests in the sandbox; the results are the verdicts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sdg_helpers import files
from sdg_helpers.answers.thinking import split_thinking
from sdg_helpers.coding.blocks import last_program
from sdg_helpers.coding.example_tests import TestIndex
from sdg_helpers.coding.filtering import program_id, program_of
from sdg_helpers.coding.program_tests import COMPILER_LIMITS, PASSED, REASONS, UNDECIDED, Report, can_run, run_tests
from sdg_helpers.coding.sandbox import Sandbox, open_sandbox
from sdg_helpers.coding.sandboxed_process import RunLimits
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.judging import pass_rates
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict, VerdictWriter, read_outcomes, read_verdicts
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import read_seed_file
from sdg_helpers.stages import Stage, Work

CHECKS = ("auto", "yes", "no")
_LIMITS = RunLimits()


def check_programs(
    solutions: Stage,
    verdicts: Path,
    questions: Path,
    stage: Stage,
    *,
    check: str = "auto",
    limits: RunLimits = _LIMITS,
    max_tests: int = 20,
    workers: int | None = None,
) -> dict[str, Any]:
    """Write verdicts.parquet (columns as from the filter), pass_rates.parquet and checks.jsonl; return the manifest.

    verdicts: the filter's; questions: the folder of problems.jsonl and tests.jsonl. check: "yes" runs programs, and
    raises SdgError where that is not safe; "no" runs none; "auto" runs them if it is safe, and otherwise records the
    reason in the manifest's `sandbox`. max_tests: only a question's first ones are run. workers: programs that run at
    the same time; None: one per CPU core.

    A program that passes its tests is correct, how = "tests"; one that fails is wrong, how = the reason, one of
    program_tests.REASONS; one of program_tests.UNDECIDED leaves it undecided; one whose question has no tests keeps the
    filter's verdict. checks.jsonl has a report per distinct
    program of a problem. pass_rates.parquet has the columns id, solutions, programs, right and pass_rate.
    """
    if check not in CHECKS:
        raise SdgError(f"check: must be one of {', '.join(CHECKS)}, found {check!r}.{did_you_mean(str(check), CHECKS)}")
    solutions.require()
    seeds = seed_files.seed_files(solutions.folder)
    parameters = {"check": check, "max_tests": max_tests, **asdict(limits)}
    inputs = {
        "verdicts": verdicts,
        "problems": questions / "problems.jsonl",
        "tests": questions / "tests.jsonl",
        **{path.name: path for path in seeds.values()},
    }
    with stage.work(parameters, inputs) as work:
        if not work.done:
            sandbox, report = _open_sandbox(check, limits)
            if sandbox is not None:
                with TestIndex(questions / "tests.jsonl") as tests:
                    _run_all(
                        work,
                        _Runner(sandbox, tests, limits, max_tests),
                        seeds,
                        verdicts,
                        workers or len(os.sched_getaffinity(0)),
                    )
            _write_verdicts(work, seeds, verdicts, questions / "problems.jsonl", sandbox=report)
        return work.manifest


def _open_sandbox(check: str, limits: RunLimits) -> tuple[Sandbox | None, dict[str, Any]]:
    """Return the sandbox, or None if no program is to be run, and the manifest's record of it."""
    if check == "no":
        return None, {"used": False, "why_not": "not asked for"}
    try:
        sandbox = open_sandbox()
        sandbox.check_limits(limits)
        if sandbox.compiler is not None:
            sandbox.check_limits(COMPILER_LIMITS)
    except SdgError as error:
        if check == "yes":
            raise
        return None, {"used": False, "why_not": str(error)}
    return sandbox, {"used": True, "python": sandbox.python_version, "compiler": sandbox.compiler}


class _ProgramKey(NamedTuple):
    """A problem's id, and the id of a program for it (filtering.program_id)."""

    problem_id: str
    program: str


@dataclass(frozen=True)
class _Runner:
    """Everything that running a program needs besides the program."""

    sandbox: Sandbox
    tests: TestIndex
    limits: RunLimits
    max_tests: int

    def run(self, row: dict[str, Any], program: str) -> Report | None:
        """Return the report on one program; None when it has no tests or this machine has no compiler for it."""
        tests, procedure = self.tests.find_with_procedure(row["question_id"])
        if not procedure.undecided and not (tests and can_run(self.sandbox, row["language"])):
            return None
        return run_tests(
            self.sandbox, program, row["language"], tests[: self.max_tests], self.limits, row["problem"], procedure
        )


def _run_all(work: Work, runner: _Runner, seeds: dict[int, Path], verdicts: Path, workers: int) -> None:
    """Run the programs that checks.jsonl does not have yet, a few at a time; each report is on disk at once."""
    path, done = work.folder / "checks.jsonl", 0
    total = sum(correct is True for _, correct in read_outcomes(verdicts))
    running: dict[Future[Report | None], _ProgramKey] = {}
    with files.AppendLog(path) as log, ThreadPoolExecutor(workers) as pool:
        try:
            for seed, source in seeds.items():
                store = CheckStore(path)
                for row, key in _programs(source, SeedVerdicts(verdicts, seed)):
                    done += 1
                    if store.claim(*key):
                        running[pool.submit(runner.run, *row)] = key
                    if len(running) >= 2 * workers:
                        _collect(running, log)
                    work.progress(done - len(running), total)
                while running:
                    _collect(running, log)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _programs(source: Path, verdicts: SeedVerdicts) -> Iterator[tuple[tuple[dict[str, Any], str], _ProgramKey]]:
    """Yield ((row, program), its key in the store) for every solution that the filter kept."""
    for row in read_seed_file(source):
        verdict = verdicts.find(row["id"])
        if verdict is not None and verdict.correct and verdict.predicted_answer:
            program, _ = last_program(split_thinking(row["generation"])[1], row["language"])
            if program_id(program) != verdict.predicted_answer:  # a fence inside it ended the block too early
                program, _ = program_of(row, reasoning=False)
            yield (row, program), _ProgramKey(row["id"], verdict.predicted_answer)


def _collect(running: dict[Future[Report | None], _ProgramKey], log: files.AppendLog) -> None:
    """Wait for at least one report and write all that are ready."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        key, report = running.pop(future), future.result()
        if report is not None:
            log.append({"id": key.problem_id, "program": key.program, **asdict(report)})


def _write_verdicts(work: Work, seeds: dict[int, Path], verdicts: Path, problems: Path, **more: Any) -> None:
    """Write verdicts.parquet and pass_rates.parquet from what checks.jsonl holds, and finish the stage."""
    checks, path, rows = work.folder / "checks.jsonl", work.folder / "verdicts.parquet", 0
    store = CheckStore(checks)
    with VerdictWriter(path) as table:
        for seed in seeds:
            for verdict in read_verdicts(verdicts, seed):
                rows += 1
                correct, how = _final_verdict(verdict, store)
                table.add(verdict.id, seed, verdict.predicted_answer, verdict.expected_answer, correct, how)
    rates = pass_rates.write(work.folder / "pass_rates.parquet", problems, path)
    work.finish(
        rows_in=rows,
        rows_out=rows,
        outputs=[path, rates, *([checks] if checks.exists() else [])],
        rows_by_how=dict(table.by_how),
        verdicts=dict(table.by_verdict),
        programs_run=len(store),
        **more,
    )


def _final_verdict(verdict: Verdict, store: CheckStore) -> tuple[bool | None, str]:
    """Return (correct, how) after running. Reasons such as a missing library say neither right nor wrong."""
    program = verdict.predicted_answer if verdict.correct else None
    reason = store.find(verdict.id, program) if program else None
    if reason is None:
        return verdict.correct, verdict.how
    return (None if reason in UNDECIDED else reason == PASSED), reason


_CODES = (PASSED, *REASONS)  # a reason is stored as its index here


class CheckStore:
    """What checks.jsonl says of each (problem, program).

    Takes 9 bytes of memory per program in the file, and more for each claimed one.
    """

    def __init__(self, path: Path | str):
        rows = ((_key(row["id"], row["program"]), _CODES.index(row["reason"])) for row in files.read_log(path))
        known = np.fromiter(rows, dtype=[("key", np.uint64), ("code", np.uint8)])
        known = known[np.argsort(known["key"], kind="stable")]
        self._keys, self._reasons = known["key"].copy(), known["code"].copy()
        self._claimed: set[int] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, problem_id: str, program: str) -> str | None:
        """Return "tests", or why the program failed (program_tests.REASONS), or None if it was not run."""
        key = np.uint64(_key(problem_id, program))
        place = int(np.searchsorted(self._keys, key))
        known = place < len(self._keys) and self._keys[place] == key
        return _CODES[self._reasons[place]] if known else None

    def claim(self, problem_id: str, program: str) -> bool:
        """Return True the first time it is asked for a program that the file does not have: run that one now."""
        key = _key(problem_id, program)
        if key in self._claimed or self.find(problem_id, program) is not None:
            return False
        self._claimed.add(key)
        return True


def _key(problem_id: str, program: str) -> int:
    digest = hashlib.blake2b(f"{program}/{problem_id}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
