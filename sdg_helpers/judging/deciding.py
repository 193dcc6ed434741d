"""Decide the comparisons of a stage: by rules where they are certain, otherwise by the judge model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.completions.sessions import total_usage
from sdg_helpers.judging.asking import Judge, ask_judge, reply_files
from sdg_helpers.judging.comparisons import Comparisons
from sdg_helpers.judging.in_jobs import ask_in_jobs, has_begun
from sdg_helpers.judging.pairs import AnswerPairs
from sdg_helpers.judging.settling import apply_rules, keep_replies, mark_undecided
from sdg_helpers.stages import Work


class Decided(NamedTuple):
    """known: the verdicts; undecided: comparisons without one, by reason; usage: of the judge, from its sessions.

    replies: the model's verdicts in the store; reference_calls: how often the reference pipeline would have asked.
    """

    known: Comparisons
    undecided: Counter[str]
    usage: dict[str, Any]
    replies: int
    reference_calls: int


def ahead_store(solutions: Path) -> Path:
    """Return the path of the comparisons that were judged before the solutions were complete (see ahead.py)."""
    return solutions / "ahead" / "comparisons.jsonl"


def existing(decisions: Path | None) -> dict[str, Path]:
    """Return a person's decisions as an input, if there are any."""
    return {"decisions": decisions} if decisions is not None and decisions.exists() else {}


def decide_pairs(
    work: Work,
    pairs: AnswerPairs,
    judge: Judge,
    tiers: str,
    max_failed_fraction: float,
    jobs: JobSpec | None,
    decisions: Path | None = None,
    earlier: Sequence[Path] = (),
) -> Decided:
    """Decide every comparison of these pairs and add it to comparisons.jsonl in the stage's folder.

    earlier: comparison stores of previous stages. Raises SdgError when too many requests failed.
    """
    folder, store = work.folder / "partial", work.folder / "comparisons.jsonl"
    if jobs is not None and has_begun(work.folder):
        ask_in_jobs(work, folder / "pending.jsonl", judge, jobs)
    known = Comparisons(judge.model, judge.prompt.id, tiers)
    for path in (*earlier, store, *reply_files(folder), *existing(decisions).values()):  # the last one counts
        known.read(path)
    counts = apply_rules(work, pairs, known, store, folder / "pending.jsonl")
    if counts["pending"]:
        _ask(work, folder / "pending.jsonl", judge, jobs)
        for path in (*reply_files(folder), *existing(decisions).values()):
            known.read(path)
    undecided, usage = mark_undecided(work, known, folder, max_failed_fraction), total_usage(folder)
    return Decided(known, undecided, usage, keep_replies(store, folder), counts["reference_calls"])


def _ask(work: Work, pending: Path, judge: Judge, jobs: JobSpec | None) -> None:
    """Ask the pending questions, in this process or in jobs."""
    if jobs is not None:
        ask_in_jobs(work, pending, judge, jobs)
    elif (server := judge.open_server()) is not None:  # None: not the first rank of a job
        ask_judge(pending, server, judge, work)
