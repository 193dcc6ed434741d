"""Science, stage 05: the most frequent answer to a question becomes its expected answer."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sdg_helpers import files
from sdg_helpers.answers.equality import RULES, canonical
from sdg_helpers.answers.options import normalise_vote
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.extracted_answers import ExtractedAnswers, extract_answers
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.problems.problem_file import ProblemIndex, read_problems
from sdg_helpers.relabeling import count_votes
from sdg_helpers.solutions import seed_files
from sdg_helpers.stages import Stage, Work

REASONS = ("no_votes", "too_few_votes", "too_little_agreement")


def vote(
    solutions: Stage,
    problems: Path,
    stage: Stage,
    *,
    min_votes: int = 1,
    min_agreement: float = 0.0,
    reasoning: bool = True,
) -> dict[str, Any]:
    """Write labels.parquet (id, expected_answer, votes, total, agreement, reason: "" for a kept question),
    verdicts.parquet with the columns of a judging stage, kept.jsonl and dropped.jsonl: the questions with their votes.

    A question with options is voted on by letter, in any spelling; an open one by equal answers. An answer that names
    no option does not vote. The answer with the most votes wins; in a tie, the answer of the lowest seed. A question is
    kept when its winner has at least min_votes votes and min_agreement of all votes (0 to 1). reasoning: the solver
    thinks, so an answer without closed thinking does not count. Returns the manifest. Raises SdgError when no question
    is kept.
    """
    if min_votes < 1 or not 0 <= min_agreement <= 1:
        raise SdgError(
            f"MIN_VOTES must be 1 or more and MIN_AGREEMENT from 0 to 1, found {min_votes} and {min_agreement}."
        )
    solutions.require()
    seeds = seed_files.seed_files(solutions.folder)
    parameters = {
        "min_votes": min_votes,
        "min_agreement": min_agreement,
        "reasoning": reasoning,
        "equality_rules": RULES,
    }
    inputs = {"problems": problems, **{path.name: path for path in seeds.values()}}
    with stage.work(parameters, inputs) as work:
        if work.done:
            return work.manifest
        partial = work.folder / "partial"
        extract_answers(solutions.folder, partial, reasoning)
        votes = _Votes(ExtractedAnswers(partial, list(seeds)), problems)
        labels = _choose_labels(votes, min_votes, min_agreement)
        manifest = _write_outputs(work, votes, labels)
        shutil.rmtree(partial, ignore_errors=True)
        return manifest


class _Votes:
    """The answers of all solutions, normalised to votes."""

    def __init__(self, answers: ExtractedAnswers, problems: Path):
        self.seeds, self.problems, self._answers = answers.seeds, problems, answers
        self.index = ProblemIndex.build(problems)

    def __iter__(self) -> Iterator[tuple[int, int, str, str | None, str | None]]:
        """Yield (seed, position of the question, its id, answer, vote), seed by seed; vote: None for no vote."""
        for seed in self.seeds:
            rows = enumerate(read_problems(self.problems))
            for problem_id, (answer, _) in self._answers.of_seed(seed):
                position, row = next(((place, one) for place, one in rows if one["id"] == problem_id), (-1, {}))
                if not row:
                    raise SdgError(
                        f"{self.problems}: the question {problem_id!r} of a solution with seed {seed} is missing or "
                        "not in the order of the solutions. Use files of the same run."
                    )
                yield seed, position, problem_id, answer, normalise_vote(answer, row.get("options"))


def _choose_labels(votes: _Votes, min_votes: int, min_agreement: float) -> pd.DataFrame:
    """Return one row per question, in order; tied: another answer has as many votes as the winner."""
    labels = pd.DataFrame({"id": list(votes.index)}).join(count_votes(_table(votes)))
    labels[["votes", "total"]] = labels[["votes", "total"]].fillna(0).astype("int32")
    labels["agreement"] = (labels["votes"] / labels["total"]).astype("float32")
    conditions = [labels["total"] == 0, labels["votes"] < min_votes, labels["votes"] < min_agreement * labels["total"]]
    labels["reason"] = np.select(conditions, REASONS, default="")
    labels["expected_answer"] = labels.pop("answer").fillna("").astype("str")
    return labels[["id", "expected_answer", "votes", "total", "agreement", "reason", "tied"]]


def _table(votes: _Votes) -> pd.DataFrame:
    """Return the votes as columns: problem (its position), seed, predicted_answer. Each spelling is stored once."""
    problems, seeds, codes = array("i"), array("i"), array("i")
    known: dict[str, int] = {}
    for seed, position, _, _, choice in votes:
        if choice:
            problems.append(position)
            seeds.append(seed)
            codes.append(known.setdefault(choice, len(known)))
    spellings = np.array(list(known), dtype=object)
    return pd.DataFrame(
        {
            "problem": np.array(problems, dtype=np.int32),
            "seed": np.array(seeds, dtype=np.int32),
            "predicted_answer": spellings[np.array(codes, dtype=np.int32)],
        }
    )


def _write_outputs(work: Work, votes: _Votes, labels: pd.DataFrame) -> dict[str, Any]:
    dropped = labels.loc[labels["reason"] != "", "reason"].value_counts().to_dict()
    kept = len(labels) - sum(dropped.values())
    if not kept:
        raise SdgError(
            f"{work.folder}: none of the {len(labels)} questions has an answer with enough votes ({dropped}). Look at "
            "the solutions, or lower MIN_VOTES and MIN_AGREEMENT."
        )
    outputs = [work.folder / name for name in ("labels.parquet", "verdicts.parquet", "kept.jsonl", "dropped.jsonl")]
    with files.atomic_writer(outputs[0]) as out:
        labels.drop(columns="tied").to_parquet(out, index=False)
    by_how, by_verdict = _write_verdicts(outputs[1], votes, labels)
    _write_questions(votes.problems, labels, outputs[2], outputs[3])
    return work.finish(
        rows_in=len(labels),
        rows_out=kept,
        dropped=dropped,
        outputs=outputs,
        votes_by_how=by_how,
        verdicts=by_verdict,
        ties=int(labels.loc[labels["reason"] == "", "tied"].sum()),
    )


def _write_verdicts(path: Path, votes: _Votes, labels: pd.DataFrame) -> tuple[dict[str, int], dict[str, int]]:
    """Write verdicts.parquet: right for a vote for the winner, undecided for a dropped question. Return the counts."""
    winners, kept = labels["expected_answer"].tolist(), (labels["reason"] == "").tolist()
    value = lru_cache(maxsize=1 << 16)(canonical)
    with VerdictWriter(path) as table:
        for seed, position, problem_id, answer, choice in votes:
            winner = winners[position]
            right = choice is not None and (choice == winner or value(choice) == value(winner))
            how = "vote" if choice else "names_no_option" if answer else "missing"
            table.add(problem_id, seed, choice or answer, winner, right if kept[position] else None, how)
    return dict(table.by_how), dict(table.by_verdict)


def _write_questions(problems: Path, labels: pd.DataFrame, kept: Path, dropped: Path) -> None:
    with files.atomic_writer(kept) as out, files.atomic_writer(dropped) as left_out:
        for row, label in zip(read_problems(problems), labels.itertuples(index=False), strict=True):
            agreement = round(float(label.agreement), 4) if label.total else None
            voted = {
                **row,
                "expected_answer": label.expected_answer,
                "votes": label.votes,
                "total": label.total,
                "agreement": agreement,
            }
            if label.reason:
                left_out.write(files.dumps({**voted, "reason": label.reason}))
            else:
                out.write(files.dumps(voted))
