"""Science, stage 05: the most frequent answer to a question becomes its expected answer."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sdg_helpers import files
from sdg_helpers.answers.equality import RULES
from sdg_helpers.answers.options import normalise_vote
from sdg_helpers.errors import SdgError, UnreadableRow
from sdg_helpers.judging.extracted_answers import ExtractedAnswers, extract_answers
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.labels.ballots import Ballots
from sdg_helpers.labels.model import LabelModel, Votes
from sdg_helpers.labels.rules import RelabelRule
from sdg_helpers.labels.sound_votes import count_sound_votes
from sdg_helpers.labels.votes import count_votes, depend_on_problem, group_ballots, voters
from sdg_helpers.problems.problem_file import ProblemIndex, read_problems, read_texts
from sdg_helpers.science.decided import follow_decisions
from sdg_helpers.solutions import seed_files
from sdg_helpers.stages import Stage, Work

_RULES = ("no_votes", "tied", "too_few_votes", "too_little_agreement", "miscalculated", "unsure")
REASONS = (*_RULES, "rejected")  # why a question is dropped; rejected: a person called its winner wrong


def vote(
    solutions: Stage,
    problems: Path,
    stage: Stage,
    *,
    min_votes: int = 2,
    min_agreement: float = 0.0,
    min_confidence: float = 0.9,
    reasoning: bool = True,
    decisions: Path | None = None,
) -> dict[str, Any]:
    """Write labels.parquet (id, expected_answer, votes, seeds, agreement, confidence, tied, reason: "" for a kept
    question), verdicts.parquet as a judging stage does, kept.jsonl and dropped.jsonl: the questions with their votes.

    Questions with options are voted on by letter, however it was written; others by equal answers. What names no option
    does not vote, and counts as a seed that did not agree. A question is kept when its winner has min_votes votes,
    min_agreement of the seeds, min_confidence, and no equal rival; a solution with a wrong equation is no vote for it.
    There are no references to fit labels.model to: the confidence is that of its prior. reasoning: the model that
    solved thinks, so that an answer without closed thinking does not count. decisions: a person's on labels (see
    audit.labels), which override the votes; a file that does not exist is ignored. Returns the manifest; raises
    SdgError when no question is kept.
    """
    RelabelRule(min_confidence=min_confidence, min_votes=min_votes, min_agreement=min_agreement)  # raises SdgError
    solutions.require()
    seeds = seed_files.seed_files(solutions.folder)
    parameters = {
        "min_votes": min_votes,
        "min_agreement": min_agreement,
        "min_confidence": min_confidence,
        "reasoning": reasoning,
        "equality_rules": RULES,
    }
    inputs = {"problems": problems, **{path.name: path for path in seeds.values()}}
    if decisions is not None and decisions.exists():
        inputs["decisions"] = decisions
    with stage.work(parameters, inputs) as work:
        if work.done:
            return work.manifest
        partial = work.folder / "partial"
        extract_answers(solutions.folder, partial, reasoning)
        votes = _Votes(ExtractedAnswers(partial, seeds), problems)
        rules = (min_votes, min_agreement, min_confidence)
        labels, for_winner = _label(votes, solutions.folder, rules, inputs.get("decisions"))
        manifest = _write_outputs(work, votes, labels, for_winner)
        shutil.rmtree(partial, ignore_errors=True)
        return manifest


class _Votes:
    """The answers of all solutions, normalised to votes."""

    def __init__(self, answers: ExtractedAnswers, problems: Path):
        self.seeds, self.problems, self._answers = answers.seeds, problems, answers
        self.index = ProblemIndex.build(problems)

    def __iter__(self) -> Iterator[tuple[int, int, str, str | None, str | None]]:
        """Yield (seed, position of the question, its id, answer, answer as it votes), seed by seed."""
        for seed in self.seeds:
            rows = enumerate(read_problems(self.problems))
            for problem_id, (answer, _) in self._answers.of_seed(seed):
                position, row = next(((place, one) for place, one in rows if one["id"] == problem_id), (-1, {}))
                if not row:
                    raise UnreadableRow(
                        f"{self.problems} has no question {problem_id!r} at the place where seed {seed} solved it. "
                        "Give the files of one run."
                    )
                yield seed, position, problem_id, answer, normalise_vote(answer, row.get("options"))


def _label(
    votes: _Votes, solutions: Path, rules: tuple[int, float, float], decisions: Path | None
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return one row per question, in their order; and which ballots, in theirs, are for its label.

    rules: min_votes, min_agreement and min_confidence.
    """
    ballots, seeds = _ballots(votes)
    model = LabelModel.fit({})
    groups = group_ballots(ballots, read_texts(votes.problems, depend_on_problem(ballots).tolist()))
    tally = count_votes(ballots, groups, seeds)
    patterns, index, _ = tally.patterns(np.zeros(len(seeds), dtype=bool))
    labels = pd.DataFrame({"id": list(votes.index), "expected_answer": pd.array(tally.winner, dtype="str")})
    labels["votes"], labels["seeds"], labels["miscalculated"] = tally.largest, seeds, False
    confidence = np.array([model.confidence(one).largest for one in patterns])
    labels["confidence"] = confidence[index].astype("float32") if len(confidence) else 0.0
    labels["tied"] = (tally.largest > 0) & (tally.largest == tally.second)
    _give_reasons(labels, *rules)
    kept = (labels["reason"] == "").to_numpy()
    names = labels["id"].tolist()
    sound = count_sound_votes(solutions, ((names[place], seed) for place, seed in voters(ballots, groups, tally, kept)))
    for place in np.flatnonzero(kept):
        left, second = sound[names[place]], int(tally.second[place])
        if left < tally.largest[place]:
            one = Votes(left, second, int(tally.others[place]), int(seeds[place]), None, False)
            labels.loc[place, ["votes", "miscalculated"]] = left, True
            labels.loc[place, "confidence"] = model.confidence(one).largest if left > second else 0.0
    _give_reasons(labels, *rules)
    if decisions is not None:
        follow_decisions(labels, tally, ballots, groups, decisions)
    return labels.drop(columns="miscalculated"), groups == tally.winning[ballots.problem]


def _give_reasons(labels: pd.DataFrame, min_votes: int, min_agreement: float, min_confidence: float) -> None:
    """Add agreement, and why a question is dropped: one of REASONS, or "" for a kept one."""
    labels["agreement"] = (labels["votes"] / labels["seeds"].clip(lower=1)).astype("float32")
    unsure = labels["confidence"] < min_confidence
    few, disagreeing = labels["votes"] < min_votes, labels["votes"] < min_agreement * labels["seeds"]
    conditions = [
        (labels["votes"] == 0) & ~labels["miscalculated"],
        labels["tied"],
        few & ~labels["miscalculated"],
        disagreeing & ~labels["miscalculated"],
        labels["miscalculated"] & (few | disagreeing | unsure),
        unsure,
    ]
    labels["reason"] = np.select(conditions, _RULES, default="")


def _ballots(votes: _Votes) -> tuple[Ballots, NDArray[np.int32]]:
    """Return the ballots, and the seeds asked by question. Each spelling is held once."""
    problems, seeds, codes = array("i"), array("i"), array("i")
    known: dict[str, int] = {}
    asked = np.zeros(len(votes.index), dtype=np.int32)
    for seed, position, _, _, choice in votes:
        asked[position] += 1
        if choice:
            problems.append(position)
            seeds.append(seed)
            codes.append(known.setdefault(choice, len(known)))
    problem, seed_of, answer = (np.array(column, dtype=np.int32) for column in (problems, seeds, codes))
    return Ballots(problem, seed_of, answer, np.zeros(len(problem), dtype=bool), list(known)), asked


def _write_outputs(work: Work, votes: _Votes, labels: pd.DataFrame, for_winner: NDArray[np.bool_]) -> dict[str, Any]:
    dropped = labels.loc[labels["reason"] != "", "reason"].value_counts().to_dict()
    kept = len(labels) - sum(dropped.values())
    if not kept:
        raise SdgError(
            f"{work.folder}: none of the {len(labels)} questions has an answer with enough votes ({dropped}). Look at "
            "the solutions, or lower MIN_VOTES and MIN_AGREEMENT."
        )
    outputs = [work.folder / name for name in ("labels.parquet", "verdicts.parquet", "kept.jsonl", "dropped.jsonl")]
    with files.atomic_writer(outputs[0]) as out:
        labels.to_parquet(out, index=False)
    by_how, by_verdict = _write_verdicts(outputs[1], votes, labels, for_winner)
    _write_questions(votes.problems, labels, outputs[2], outputs[3])
    return work.finish(
        rows_in=len(labels),
        rows_out=kept,
        dropped=dropped,
        outputs=outputs,
        votes_by_how=by_how,
        verdicts=by_verdict,
        ties=int(labels["tied"].sum()),
        expected_wrong=round(float((1 - labels.loc[labels["reason"] == "", "confidence"]).sum()), 2),
    )


def _write_verdicts(
    path: Path, votes: _Votes, labels: pd.DataFrame, for_winner: NDArray[np.bool_]
) -> tuple[dict[str, int], dict[str, int]]:
    """Write verdicts.parquet: right for a vote for the winner, undecided for a dropped question. Return the counts."""
    winners, kept = labels["expected_answer"].tolist(), (labels["reason"] == "").tolist()
    ballots = iter(for_winner.tolist())
    with VerdictWriter(path) as table:
        for seed, position, problem_id, answer, choice in votes:
            right = next(ballots) if choice else False
            how = "vote" if choice else "names_no_option" if answer else "missing"
            table.add(problem_id, seed, choice or answer, winners[position], right if kept[position] else None, how)
    return dict(table.by_how), dict(table.by_verdict)


def _write_questions(problems: Path, labels: pd.DataFrame, kept: Path, dropped: Path) -> None:
    with files.atomic_writer(kept) as out, files.atomic_writer(dropped) as left_out:
        for row, label in zip(read_problems(problems), labels.itertuples(index=False), strict=True):
            voted = {
                **row,
                "expected_answer": label.expected_answer,
                "votes": label.votes,
                "seeds": label.seeds,
                "agreement": round(float(label.agreement), 4),
                "confidence": round(float(label.confidence), 4),
            }
            if label.reason:
                left_out.write(files.dumps({**voted, "reason": label.reason}))
            else:
                out.write(files.dumps(voted))
