"""Stages 04 and 06: is the answer of each solution right? Every different comparison is decided once: by rules where
they are sure, else by a model."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from sdg_helpers import files
from sdg_helpers.answers.equality import RULES, decide
from sdg_helpers.cluster.chunks import run_in_jobs
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.completions.sessions import took
from sdg_helpers.completions.types import Limits
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.asking import Judging, answered, ask_chunk, ask_judge, failures, replies, unanswered
from sdg_helpers.judging.comparisons import HOW, PENDING, Comparisons, Judge, code, comparison_key, row_key, row_of
from sdg_helpers.judging.extracted_answers import Judged, TakenOut, take_out
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.prompts import Prompt
from sdg_helpers.serving.server import Server
from sdg_helpers.solutions import seed_files
from sdg_helpers.stages import Stage, Work

OpenServer = Callable[[], Server | None]
JUDGED = ("judged", "math/04_judge_solutions")
REJUDGED = ("rejudged", "math/06_rejudge_solutions")


def judge_solutions(
    solutions: Path,
    problems: Path,
    folder: Path,
    *,
    open_server: OpenServer,
    model: str,
    prompt: Prompt,
    limits: Limits,
    tiers: str = "all",
    reasoning: bool = True,
    max_tokens: int = 512,
    max_failed_fraction: float = 0.01,
    stage: tuple[str, str] = JUDGED,
    jobs: JobSpec | None = None,
) -> dict[str, Any]:
    """Write verdicts.parquet: id, seed, predicted_answer, expected_answer, correct (null: undecided), how.

    solutions: folder of output-rs{seed}.jsonl. reasoning: the model that wrote them thinks, so that an answer without
    closed thinking does not count. tiers: "all", or "exact" for the reference's rule (everything but equal texts goes
    to the model). prompt: needs predicted_answer and expected_answer. open_server is called only when the model must be
    asked. Complete when at most max_failed_fraction of the comparisons have no reply. jobs: ask in jobs of Slurm, each
    with a server of its own; None: here. Returns the manifest.
    """
    seeds = seed_files.seed_files(solutions)
    Stage(solutions, "solutions", "math/03_generate_solutions").require()
    parameters = {**_parameters(model, prompt, tiers, max_tokens), "reasoning": reasoning}
    inputs = {"problems": problems, **{path.name: path for path in seeds.values()}}
    with Stage(folder, *stage).work(parameters, inputs) as work:
        if work.done:
            return work.manifest
        take_out(solutions, work.folder / "partial", reasoning)
        expected = [(row.get("expected_answer") or "").strip() for row in read_problems(problems)]
        pairs = _Pairs(TakenOut(work.folder / "partial", list(seeds)), problems, expected)
        how = Judging(Judge(model, prompt.id), prompt, limits, max_tokens)
        return _judge(work, pairs, how, tiers, open_server, max_failed_fraction, jobs)


def rejudge_solutions(
    judged: Path,
    labels: Path,
    problems: Path,
    folder: Path,
    *,
    open_server: OpenServer,
    model: str,
    prompt: Prompt,
    limits: Limits,
    tiers: str = "all",
    max_tokens: int = 512,
    max_failed_fraction: float = 0.01,
    stage: tuple[str, str] = REJUDGED,
    jobs: JobSpec | None = None,
) -> dict[str, Any]:
    """The same against labels.parquet. judged: folder of the first judging, whose answers and decisions are used: only
    comparisons with a new answer cost anything, and no solution is read again. Returns the manifest."""
    first = Stage(judged, *JUDGED).require()
    verdicts, store = judged / "verdicts.parquet", judged / "comparisons.jsonl"
    inputs = {"verdicts": verdicts, "comparisons": store, "labels": labels, "problems": problems}
    with Stage(folder, *stage).work(_parameters(model, prompt, tiers, max_tokens), inputs) as work:
        if work.done:
            return work.manifest
        pairs = _Pairs(Judged(verdicts, first["seeds"]), problems, _labels(labels, problems))
        how = Judging(Judge(model, prompt.id), prompt, limits, max_tokens)
        return _judge(work, pairs, how, tiers, open_server, max_failed_fraction, jobs, [store])


def _parameters(model: str, prompt: Prompt, tiers: str, max_tokens: int) -> dict[str, Any]:
    decide("1", "1", tiers=tiers)  # refuses a name that is none
    needed = {"predicted_answer", "expected_answer"}
    if not needed <= set(prompt.fields):
        raise SdgError(
            f"prompt {prompt.name}: expected the placeholders {', '.join(sorted(needed))} in a judge's "
            f"prompt, found {', '.join(prompt.fields) or 'none'}. Give a prompt such as math/judge."
        )
    return {
        "model": model,
        "prompt": prompt.id,
        "prompt_name": prompt.name,
        "tiers": tiers,
        "rules": RULES,
        "max_tokens": max_tokens,
    }


def _labels(labels: Path, problems: Path) -> list[str]:
    """The label of every problem, in the order of the problems."""
    table = pd.read_parquet(labels, columns=["id", "expected_answer"])
    known = dict(zip(table["id"], table["expected_answer"].fillna(""), strict=True))
    ordered = [known.get(row["id"]) for row in read_problems(problems)]
    if None in ordered:
        raise SdgError(
            f"{labels}: expected a label for every problem of {problems}, found none for row "
            f"{ordered.index(None) + 1}. Give the files of one run."
        )
    return [label.strip() for label in ordered]


class _Pairs:
    """What is to be compared: the answer of every solution with the one expected."""

    def __init__(self, answers: TakenOut | Judged, problems: Path, expected: list[str]):
        """expected: of every problem, in order; "" where there is none."""
        self.seeds, self._answers, self._problems, self._expected = answers.seeds, answers, problems, expected

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any], str | None, str]]:
        """(seed, problem, predicted answer, expected answer) of every solution; the problems are read along."""
        for seed in self.seeds:
            problems = zip(read_problems(self._problems), self._expected, strict=True)
            for problem_id, predicted in self._answers.of_seed(seed):
                problem, expected = next(((one, two) for one, two in problems if one["id"] == problem_id), ({}, ""))
                if not problem:
                    raise SdgError(
                        f"{self._problems}: expected the problem {problem_id!r} of a solution with seed "
                        f"{seed}, in order, found none. Give the files of one run."
                    )
                yield seed, problem, predicted, expected


def _judge(
    work: Work,
    pairs: _Pairs,
    how: Judging,
    tiers: str,
    open_server: OpenServer,
    max_failed_fraction: float,
    jobs: JobSpec | None,
    earlier: list[Path] = (),
) -> dict[str, Any]:
    """Rules, then the model, then the table. earlier: stores of stages before this one."""
    folder, store = work.folder / "partial", work.folder / "comparisons.jsonl"
    known = Comparisons(how.judge, tiers)
    for path in (*earlier, store, *replies(folder)):
        known.read(path)
    counts = _apply_rules(work, pairs, known, store, folder / "pending.jsonl")
    if counts["pending"]:
        _ask(work, folder / "pending.jsonl", open_server, how, jobs, counts["pending"])
        for path in replies(folder):
            known.read(path)
    undecided, asked = _undecided(work, known, folder, max_failed_fraction), took(folder)
    decided = _keep_replies(store, folder)
    return _finish(
        work,
        pairs,
        known,
        outputs=[work.folder / "verdicts.parquet", store],
        undecided=dict(undecided),
        comparisons_asked=decided + undecided.total(),
        reference_calls=counts["reference_calls"],
        model_calls=asked.get("done", 0) + asked.get("failed", 0),
        requests=asked,
    )


def _ask(work: Work, pending: Path, open_server: OpenServer, how: Judging, jobs: JobSpec | None, count: int) -> None:
    """Ask what is pending, here or in jobs."""
    if jobs is None:
        return ask_judge(pending, open_server(), how, work)
    function = partial(ask_chunk, pending=pending.resolve(), open_server=open_server, how=how)
    before = len(answered(pending.parent))
    return run_in_jobs(work, function, jobs, partial(unanswered, pending), before, before + count)


def _apply_rules(work: Work, pairs: _Pairs, known: Comparisons, store: Path, pending: Path) -> Counter:
    """Decide what the rules decide; write down what the model must be asked."""
    counts: Counter = Counter()
    with files.AppendLog(store) as log, files.atomic_writer(pending) as questions:
        for number, (_, problem, predicted, expected) in enumerate(pairs, 1):
            if predicted and expected:
                counts["reference_calls"] += predicted != expected  # what it asks its model: rows, not comparisons
                counts["pending"] += _decide(known, problem, predicted, expected, log, questions)
            if number % 4096 == 0:
                work.progress(number, None)
    return counts


def _decide(
    known: Comparisons,
    problem: Mapping[str, Any],
    predicted: str,
    expected: str,
    log: files.AppendLog,
    questions: BinaryIO,
) -> bool:
    """Whether the model must be asked; what a rule decides is kept."""
    key = comparison_key(problem["id"], predicted, expected)
    if key in known:
        return False
    correct, how = decide(predicted, expected, problem["problem"], known.tiers)
    known[key] = code(correct, how) if how else PENDING
    if how:
        log.append(row_of(problem["id"], predicted, expected, correct, how))
    else:
        questions.write(
            files.dumps(
                {
                    "id": problem["id"],
                    "problem": problem["problem"],
                    "predicted_answer": predicted,
                    "expected_answer": expected,
                }
            )
        )
    return not how


def _undecided(work: Work, known: Comparisons, folder: Path, max_failed_fraction: float) -> Counter:
    """Mark what has no verdict with why, and keep its failures; refuse to go on when too many requests failed."""
    told, reasons = failures(folder), Counter()
    lost = [row for row in files.read_log(folder / "pending.jsonl") if known[row_key(row)] == PENDING]
    for row in lost:
        failure = told.get(row_key(row), {"reason": "not_asked"})
        reasons[failure["reason"]] += 1
        known[row_key(row)] = code(None, "unreadable" if failure["reason"] == "unreadable" else "failed")
    failed = len(lost) - reasons["unreadable"]
    if failed > max_failed_fraction * len(known):
        why = ", ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
        raise SdgError(
            f"{work.folder}: {failed} of {len(known)} comparisons have no reply ({why}); at most "
            f"{max_failed_fraction:.1%} may have none. {folder}/failures-*.jsonl have every failure. "
            "Nothing that was decided is lost: run again to ask for the missing ones, or allow more with "
            "MAX_FAILED_FRACTION."
        )
    if lost:
        with files.atomic_writer(work.folder / "failures.jsonl") as out:
            out.writelines(files.dumps(told[row_key(row)]) for row in lost if row_key(row) in told)
    return reasons


def _keep_replies(store: Path, folder: Path) -> int:
    """Move the judge's replies into the store, every comparison once; returns how many of them it has."""
    kept = {row_key(row) for row in files.read_log(store) if row["how"] == "model"}
    with files.AppendLog(store) as log:
        for row in (row for path in replies(folder) for row in files.read_log(path)):
            if row_key(row) not in kept:
                kept.add(row_key(row))
                log.append(row)
    return len(kept)


def _finish(work: Work, pairs: _Pairs, known: Comparisons, **more: Any) -> dict[str, Any]:
    with VerdictWriter(work.folder / "verdicts.parquet") as table:
        for seed, problem, predicted, expected in pairs:
            correct, how = False, "missing"
            if predicted and expected:
                correct, how = known.use(comparison_key(problem["id"], predicted, expected))
            table.add(problem["id"], seed, predicted, expected, correct, how)
    total = table.by_how.total()
    manifest = work.finish(
        rows_in=total,
        rows_out=total,
        seeds=list(pairs.seeds),
        verdicts=dict(table.by_verdict),
        rows_by_how=_ordered(table.by_how),
        comparisons_by_how=_ordered(known.used),
        **more,
    )
    shutil.rmtree(work.folder / "partial", ignore_errors=True)
    return manifest


def _ordered(counts: Counter) -> dict[str, int]:
    return {how: counts[how] for how in HOW if counts[how]}
