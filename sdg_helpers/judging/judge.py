"""Stages 04 and 06: decide whether the answer of each solution is right.

Each distinct comparison is decided once: by rules where they are certain, otherwise by a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sdg_helpers.answers.equality import RULES, decide
from sdg_helpers.cluster.chunks import run_in_jobs
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.completions.sessions import took
from sdg_helpers.completions.types import Limits
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.asking import (
    JudgeSettings,
    answered_keys,
    ask_chunk,
    ask_judge,
    count_unanswered,
    reply_files,
)
from sdg_helpers.judging.comparisons import Comparisons, Judge
from sdg_helpers.judging.extracted_answers import ExtractedAnswers, JudgedAnswers, extract_answers
from sdg_helpers.judging.pairs import AnswerPairs, read_labels
from sdg_helpers.judging.settling import apply_rules, keep_replies, mark_undecided, write_verdicts
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
        if work.manifest is not None:
            return work.manifest
        extract_answers(solutions, work.folder / "partial", reasoning)
        expected = [(row.get("expected_answer") or "").strip() for row in read_problems(problems)]
        pairs = AnswerPairs(ExtractedAnswers(work.folder / "partial", list(seeds)), problems, expected)
        how = JudgeSettings(Judge(model, prompt.id), prompt, limits, max_tokens)
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
        if work.manifest is not None:
            return work.manifest
        pairs = AnswerPairs(JudgedAnswers(verdicts, first["seeds"]), problems, read_labels(labels, problems))
        how = JudgeSettings(Judge(model, prompt.id), prompt, limits, max_tokens)
        return _judge(work, pairs, how, tiers, open_server, max_failed_fraction, jobs, [store])


def _parameters(model: str, prompt: Prompt, tiers: str, max_tokens: int) -> dict[str, Any]:
    decide("1", "1", tiers=tiers)  # raises for an unknown name
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


def _judge(
    work: Work,
    pairs: AnswerPairs,
    how: JudgeSettings,
    tiers: str,
    open_server: OpenServer,
    max_failed_fraction: float,
    jobs: JobSpec | None,
    earlier: Sequence[Path] = (),
) -> dict[str, Any]:
    """Apply the rules, ask the model, write the table. earlier: comparison stores of previous stages."""
    folder, store = work.folder / "partial", work.folder / "comparisons.jsonl"
    known = Comparisons(how.judge, tiers)
    for path in (*earlier, store, *reply_files(folder)):
        known.read(path)
    counts = apply_rules(work, pairs, known, store, folder / "pending.jsonl")
    if counts["pending"]:
        _ask(work, folder / "pending.jsonl", open_server, how, jobs, counts["pending"])
        for path in reply_files(folder):
            known.read(path)
    undecided, asked = mark_undecided(work, known, folder, max_failed_fraction), took(folder)
    decided = keep_replies(store, folder)
    return write_verdicts(
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


def _ask(
    work: Work, pending: Path, open_server: OpenServer, how: JudgeSettings, jobs: JobSpec | None, count: int
) -> None:
    """Ask the pending questions, in this process or in jobs."""
    if jobs is None:
        server = open_server()
        if server is not None:
            ask_judge(pending, server, how, work)
        return
    function = partial(ask_chunk, pending=pending.resolve(), open_server=open_server, how=how)
    before = len(answered_keys(pending.parent))
    run_in_jobs(work, function, jobs, partial(count_unanswered, pending), before, before + count)
