"""Which programs give the right output: the example tests of their problem, run in the sandbox, each program once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdg_helpers import files
from sdg_helpers.answers.extraction import split_thinking
from sdg_helpers.coding.blocks import last_program
from sdg_helpers.coding.example_tests import TestIndex
from sdg_helpers.coding.program_tests import COMPILING, PASSED, REASONS, Report, can_run, run_tests
from sdg_helpers.coding.sandbox import Sandbox, open_sandbox
from sdg_helpers.coding.sandboxed_process import RunLimits
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.judging import pass_rates
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict, VerdictWriter, read_outcomes, read_verdicts
from sdg_helpers.solutions import seed_files
from sdg_helpers.stages import Stage, Work

STAGE = ("checked", "code/04_check_by_running")
CHECKS = ("auto", "yes", "no")
_LIMITS = RunLimits()


def check_programs(
    solutions: Path,
    verdicts: Path,
    questions: Path,
    folder: Path,
    *,
    check: str = "auto",
    limits: RunLimits = _LIMITS,
    max_tests: int = 20,
    workers: int | None = None,
) -> dict[str, Any]:
    """Write verdicts.parquet (as the filter does) and pass_rates.parquet: id, solutions, programs, right, pass_rate.

    verdicts: those of the filter; questions: the folder of problems.jsonl and tests.jsonl. check: "yes" runs programs,
    or raises SdgError where that cannot be done safely; "no" runs none; "auto" runs them where it can, and says in the
    manifest's `sandbox` why not. A program that passes max_tests tests (the first) is right, how "tests"; one that
    fails is wrong, how = why (program_tests.REASONS); one that was not run keeps the filter's verdict. checks.jsonl has
    what was seen of each program, once for equal programs of a problem. Returns the manifest.
    """
    if check not in CHECKS:
        raise SdgError(
            f"check: expected one of {', '.join(CHECKS)}, found {check!r}.{did_you_mean(str(check), CHECKS)}"
        )
    seeds = seed_files.seed_files(solutions)
    parameters = {"check": check, "max_tests": max_tests, **asdict(limits)}
    inputs = {
        "verdicts": verdicts,
        "problems": questions / "problems.jsonl",
        "tests": questions / "tests.jsonl",
        **{path.name: path for path in seeds.values()},
    }
    with Stage(folder, *STAGE).work(parameters, inputs) as work:
        if not work.done:
            sandbox, told = _sandbox(check, limits)
            if sandbox is not None:
                with TestIndex(questions / "tests.jsonl") as tests:
                    _run_all(
                        work,
                        _Runner(sandbox, tests, limits, max_tests),
                        seeds,
                        verdicts,
                        workers or len(os.sched_getaffinity(0)),
                    )
            _finish(work, seeds, verdicts, questions / "problems.jsonl", sandbox=told)
        return work.manifest


def _sandbox(check: str, limits: RunLimits) -> tuple[Sandbox | None, dict[str, Any]]:
    """The sandbox, and what the manifest says of it."""
    if check == "no":
        return None, {"used": False, "why_not": "not asked for"}
    try:
        sandbox = open_sandbox()
        sandbox.check_limits(limits)
        if sandbox.compiler is not None:
            sandbox.check_limits(COMPILING)
    except SdgError as error:
        if check == "yes":
            raise
        return None, {"used": False, "why_not": str(error)}
    return sandbox, {"used": True, "python": sandbox.python_version, "compiler": sandbox.compiler}


@dataclass(frozen=True)
class _Runner:
    """What running a program takes."""

    sandbox: Sandbox
    tests: TestIndex
    limits: RunLimits
    max_tests: int

    def run(self, row: dict[str, Any], program: str) -> Report | None:
        """The report on one program; None when there is nothing to run it with or on."""
        tests = self.tests.of(row["question_id"])[: self.max_tests]
        if not tests or not can_run(self.sandbox, row["language"]):
            return None
        return run_tests(self.sandbox, program, row["language"], tests, self.limits)


def _run_all(work: Work, runner: _Runner, seeds: dict[int, Path], verdicts: Path, workers: int) -> None:
    """Run what checks.jsonl does not have yet, a few at a time; what has been run is on disk at once."""
    path, done = work.folder / "checks.jsonl", 0
    total = sum(correct is True for _, correct in read_outcomes(verdicts))
    running: dict[Future, dict[str, str]] = {}
    with files.AppendLog(path) as log, ThreadPoolExecutor(workers) as pool:
        try:
            for seed, source in seeds.items():
                store = CheckStore(path)
                for row, key in _programs(source, SeedVerdicts(verdicts, seed)):
                    done += 1
                    if store.claim(**key):
                        running[pool.submit(runner.run, *row)] = key
                    if len(running) >= 2 * workers:
                        _collect(running, log)
                    work.progress(done - len(running), total)
                while running:
                    _collect(running, log)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _programs(source: Path, verdicts: SeedVerdicts) -> Iterator[tuple[tuple[dict[str, Any], str], dict[str, str]]]:
    """((row, program), its key in the store) of every solution that the filter let pass."""
    for row in files.read_jsonl(source):
        verdict = verdicts.find(row["id"])
        if verdict is not None and verdict.correct:
            program, _ = last_program(split_thinking(row["generation"])[1], row["language"])
            yield (row, program), {"problem_id": row["id"], "program": verdict.predicted_answer}


def _collect(running: dict[Future, dict[str, str]], log: files.AppendLog) -> None:
    """Write the reports that are there; wait for one at least."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        key, report = running.pop(future), future.result()
        if report is not None:
            log.append({"id": key["problem_id"], "program": key["program"], **asdict(report)})


def _finish(work: Work, seeds: dict[int, Path], verdicts: Path, problems: Path, **more: Any) -> None:
    checks, path, rows = work.folder / "checks.jsonl", work.folder / "verdicts.parquet", 0
    store = CheckStore(checks)
    with VerdictWriter(path) as table:
        for seed in seeds:
            for verdict in read_verdicts(verdicts, seed):
                rows += 1
                correct, how = _decided(verdict, store)
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


def _decided(verdict: Verdict, store: CheckStore) -> tuple[bool | None, str]:
    """(correct, how) after running: a program that needs a library which is not here is neither right nor wrong."""
    reason = store.find(verdict.id, verdict.predicted_answer) if verdict.correct else None
    if reason is None:
        return verdict.correct, verdict.how
    return {PASSED: True, "missing_module": None}.get(reason, False), reason


_CODES = (PASSED, *REASONS)


class CheckStore:
    """Reasons by (problem, program). 9 bytes a program that the file holds; a claimed one costs more, for as long as
    this object lives."""

    def __init__(self, path: Path | str):
        rows = ((_key(row["id"], row["program"]), _CODES.index(row["reason"])) for row in files.read_log(path))
        known = np.fromiter(rows, dtype=[("key", np.uint64), ("code", np.uint8)])
        known = known[np.argsort(known["key"], kind="stable")]
        self._keys, self._reasons, self._claimed = known["key"].copy(), known["code"].copy(), set()

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, problem_id: str, program: str) -> str | None:
        """ "tests" or why it failed; None for a program that was not run."""
        key = np.uint64(_key(problem_id, program))
        place = int(np.searchsorted(self._keys, key))
        known = place < len(self._keys) and self._keys[place] == key
        return _CODES[self._reasons[place]] if known else None

    def claim(self, problem_id: str, program: str) -> bool:
        """Whether it is to be run now: True once for a program that the file does not have."""
        key = _key(problem_id, program)
        if key in self._claimed or self.find(problem_id, program) is not None:
            return False
        self._claimed.add(key)
        return True


def _key(problem_id: str, program: str) -> int:
    digest = hashlib.blake2b(f"{program}/{problem_id}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
