"""Stages 04 and 06: decide whether the answer of each solution is right.

Each distinct comparison is decided once: by rules where they are certain, otherwise by a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdg_helpers.answers.equality import RULES, decide
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.judging.asking import Judge
from sdg_helpers.judging.deciding import ahead_store, decide_pairs, existing
from sdg_helpers.judging.extracted_answers import ExtractedAnswers, JudgedAnswers, extract_answers
from sdg_helpers.judging.pairs import AnswerPairs, Label, read_labels
from sdg_helpers.judging.settling import mark_contradictions, take_over, write_verdicts, yes_of_model
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.solutions import seed_files
from sdg_helpers.stages import Stage, Work


def judge_solutions(
    solutions: Stage,
    problems: Path,
    stage: Stage,
    *,
    judge: Judge,
    tiers: str = "all",
    reasoning: bool = True,
    judge_by_form: bool = True,
    max_failed_fraction: float = 0.01,
    decisions: Path | None = None,
    jobs: JobSpec | None = None,
    earlier: Path | None = None,
) -> dict[str, Any]:
    """Write verdicts.parquet: id, seed, predicted_answer, expected_answer, correct (null: undecided), how.

    tiers: "all", or "exact" for the reference's rule: everything but equal texts goes to the model. reasoning: the
    model that wrote the solutions thinks, so an answer without closed thinking does not count. judge_by_form: a
    solution without finish reason counts if its thinking and its last box are closed; False: it has no answer. The
    stage is complete when at most max_failed_fraction of the comparisons have no reply. decisions: a person's decisions
    (see audit.verdicts), which override rules and model; a file that does not exist is ignored. jobs: ask in Slurm
    jobs, each with its own server; None: in this process. earlier: a store of comparisons (of adaptive sampling) whose
    verdicts are taken over as far as they still hold; a file that does not exist is ignored. Returns the manifest.
    """
    solutions.require()
    seeds = seed_files.seed_files(solutions.folder)
    parameters = {**_parameters(judge, tiers), "reasoning": reasoning, "judge_by_form": judge_by_form}
    inputs = {"problems": problems, **{path.name: path for path in seeds.values()}, **existing(decisions)}
    with stage.work(parameters, inputs) as work:
        if work.done:
            return work.manifest
        for store in (earlier, ahead_store(solutions.folder)):
            take_over(store, work.folder / "comparisons.jsonl")
        extract_answers(solutions.folder, work.folder / "partial", reasoning, judge_by_form=judge_by_form)
        labels = [Label.of_reference(row.get("expected_answer")) for row in read_problems(problems)]
        pairs = AnswerPairs(ExtractedAnswers(work.folder / "partial", seeds), problems, labels)
        return _judge(work, pairs, judge, tiers, max_failed_fraction, jobs, decisions)


def rejudge_solutions(
    judged: Stage,
    labels: Path,
    problems: Path,
    stage: Stage,
    *,
    judge: Judge,
    tiers: str = "all",
    max_failed_fraction: float = 0.01,
    decisions: Path | None = None,
    jobs: JobSpec | None = None,
) -> dict[str, Any]:
    """Judge again, against labels.parquet; the other arguments are as in judge_solutions.

    judged: the first judging, whose answers and decisions are reused: only comparisons with a new answer cost anything,
    and no solution is read again. Returns the manifest.
    """
    first = judged.require()
    verdicts, store = judged.folder / "verdicts.parquet", judged.folder / "comparisons.jsonl"
    inputs = {"verdicts": verdicts, "comparisons": store, "labels": labels, "problems": problems}
    inputs |= existing(decisions)
    with stage.work(_parameters(judge, tiers), inputs) as work:
        if work.done:
            return work.manifest
        pairs = AnswerPairs(JudgedAnswers(verdicts, first["seeds"]), problems, read_labels(labels, problems))
        return _judge(work, pairs, judge, tiers, max_failed_fraction, jobs, decisions, [store])


def _parameters(judge: Judge, tiers: str) -> dict[str, Any]:
    decide("1", "1", tiers=tiers)  # raises for an unknown name
    return {
        "model": judge.model,
        "prompt": judge.prompt.id,
        "prompt_name": judge.prompt.name,
        "tiers": tiers,
        "rules": RULES,
        "max_tokens": judge.max_tokens,
    }


def _judge(
    work: Work,
    pairs: AnswerPairs,
    judge: Judge,
    tiers: str,
    max_failed_fraction: float,
    jobs: JobSpec | None,
    decisions: Path | None,
    earlier: Sequence[Path] = (),
) -> dict[str, Any]:
    """Apply the rules, ask the model, write the table. earlier: comparison stores of previous stages."""
    store = work.folder / "comparisons.jsonl"
    decided = decide_pairs(work, pairs, judge, tiers, max_failed_fraction, jobs, decisions, earlier)
    stores = (*earlier, store)
    contradicted = mark_contradictions(decided.known, stores, yes_of_model(stores, pairs.problems))
    return write_verdicts(
        work,
        pairs,
        decided.known,
        outputs=[work.folder / "verdicts.parquet", store],
        undecided=dict(decided.undecided),
        contradicted=contradicted,
        comparisons_asked=decided.replies + decided.undecided.total(),
        reference_calls=decided.reference_calls,
        model_calls=decided.usage.get("done", 0) + decided.usage.get("failed", 0),
        requests=decided.usage,
    )
