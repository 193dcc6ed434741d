"""Stage 05: give every problem a label that is probably right, or none: keep, relabel, or leave undecided."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sdg_helpers import files
from sdg_helpers.answers.equality import RULES, canonical
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.labels.calibration import compare_rules, majority_curve
from sdg_helpers.labels.model import Confidence, LabelModel
from sdg_helpers.labels.votes import Tally, count_votes, read_ballots
from sdg_helpers.stages import Stage, Work

# Why a label was decided as it was: reason -> decision.
REASONS = {
    "matched": "keep",  # solutions match the reference
    "unmatched": "keep",  # none does, but the reference is still the better bet
    "majority": "relabel",  # the majority's answer replaces the reference
    "tied": "undecided",  # two answers have equally many votes
    "unsure": "undecided",  # neither the reference nor the majority is likely enough to be right
    "outvoted": "undecided",  # solutions match the reference, but the majority says otherwise
    "unjudged": "undecided",  # an answer without a verdict may match the reference
    "conflicting": "undecided",  # the sources give different references
    "no_votes": "undecided",  # neither a reference nor an answer
}
COLUMNS = (
    "id", "expected_answer", "original_expected_answer", "decision", "reason", "votes", "seeds", "tied", "agreement",
    "confidence",
)  # fmt: skip


@dataclass(frozen=True)
class RelabelRule:
    """When a label is replaced.

    rule: "confidence": by the probability that a label is right, and never by a single vote; "majority": any plurality
    where no solution matches the reference, the rule of OpenMathReasoning (arXiv 2504.16891); "never".
    min_confidence: least probability of a label that is used; min_votes, min_agreement: further demands on the
    majority (agreement = votes / seeds).
    """

    rule: str = "confidence"
    min_confidence: float = 0.9
    min_votes: int = 1
    min_agreement: float = 0.0

    def __post_init__(self) -> None:
        known = ("confidence", "majority", "never")
        if self.rule not in known:
            raise SdgError(
                f"relabeling rule {self.rule!r} is not one of {', '.join(known)}.{did_you_mean(self.rule, known)}"
            )
        if self.min_votes < 1:
            raise SdgError(f"min_votes must be 1 or more, not {self.min_votes}.")
        for name in ("min_confidence", "min_agreement"):
            if not 0 <= getattr(self, name) <= 1:
                raise SdgError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")


def relabel_problems(verdicts: Path, problems: Path, stage: Stage, rule: RelabelRule | None = None) -> dict[str, Any]:
    """Write labels.parquet, one row per problem, in the order of `problems`, with the columns of COLUMNS.

    votes: of the label in use (of the majority, where the label is undecided); seeds: solutions asked for; agreement:
    votes / seeds, so that silence is not consent; tied: whether another answer has as many votes as the majority;
    confidence: probability that the label is right (see labels.model). Of an undecided problem expected_answer is the
    reference; nothing exports it. Returns the manifest: decisions and reasons, the fitted model, the calibration curve,
    and what each rule would have changed.
    """
    rule = rule or RelabelRule()
    parameters = {**vars(rule), "equality_rules": RULES}
    with stage.work(parameters, {"verdicts": verdicts, "problems": problems}) as work:
        return work.manifest if work.done else _relabel(work, verdicts, problems, rule)


def _relabel(work: Work, verdicts: Path, problems: Path, rule: RelabelRule) -> dict[str, Any]:
    table = pd.DataFrame(
        ((row["id"], row["expected_answer"], "conflicting_answers" in row) for row in files.read_jsonl(problems)),
        columns=["id", "original_expected_answer", "conflicting"],
    ).astype({"id": "str", "original_expected_answer": "str"})
    ballots, seeds, unjudged = read_ballots(verdicts, pd.Index(table["id"]), problems)
    tally = count_votes(ballots, seeds)
    has_reference = (table["original_expected_answer"] != "").to_numpy() & ~table["conflicting"].to_numpy()
    unjudged &= has_reference  # without a reference there is nothing to match
    patterns, index, counts = tally.patterns(has_reference)
    model = LabelModel.fit(dict(zip(patterns, counts.tolist(), strict=True)))
    confidence = np.array([model.confidence(votes) for votes in patterns]).reshape(-1, len(Confidence._fields))[index]
    facts = _Facts(tally, has_reference, table["conflicting"].to_numpy(), unjudged, confidence, model.plausible, table)
    labels = _label(facts, rule)
    with files.atomic_writer(work.folder / "labels.parquet") as out:
        labels[list(COLUMNS)].to_parquet(out, index=False)
    reasons = labels["reason"].value_counts()
    return work.finish(
        rows_in=len(labels),
        rows_out=len(labels),
        outputs=[work.folder / "labels.parquet"],
        problems={one: int((labels["decision"] == one).sum()) for one in ("keep", "relabel", "undecided")},
        reasons={reason: int(reasons[reason]) for reason in REASONS if reason in reasons},
        model=model.summary(),
        calibration=majority_curve(model, patterns, counts),
        rules=compare_rules({one: _label(facts, RelabelRule(one)) for one in ("never", "majority", "confidence")}),
    )


@dataclass
class _Facts:
    """What is known of every problem before its label is decided; arrays of one length."""

    tally: Tally
    has_reference: np.ndarray
    conflicting: np.ndarray
    unjudged: np.ndarray
    confidence: np.ndarray  # [problem, (reference, largest)]
    plausible: bool  # the model's estimate of damaged references
    table: pd.DataFrame


def _label(facts: _Facts, rule: RelabelRule) -> pd.DataFrame:
    """Decide every problem by a rule; returns the columns of COLUMNS."""
    tally, labels = facts.tally, facts.table.copy()
    reference, largest = facts.confidence.T
    tied = (tally.largest > 0) & (tally.largest == tally.second)
    solved = facts.has_reference & (tally.reference > 0)
    enough = (tally.largest >= rule.min_votes) & (tally.largest >= rule.min_agreement * np.maximum(tally.seeds, 1))
    likely = {
        "confidence": (largest >= rule.min_confidence) & (tally.largest > 1) & facts.plausible,
        "majority": tally.largest > 0,
        "never": np.False_,
    }
    replace = ~solved & ~facts.unjudged & enough & likely[rule.rule] & (~tied | (rule.rule == "majority"))
    trusted = facts.has_reference & ((reference >= rule.min_confidence) | (rule.rule != "confidence"))
    same = np.zeros(len(labels), dtype=bool)
    for place in np.flatnonzero(replace & facts.has_reference):  # the rules see no difference, whatever the judge said
        same[place] = canonical(tally.winner[place]) == canonical(labels["original_expected_answer"].iat[place])
    conditions = {
        "conflicting": facts.conflicting & (rule.rule == "confidence"),
        "matched": solved & trusted,
        "outvoted": solved,
        "no_votes": ~facts.has_reference & (tally.largest == 0),
        "unjudged": (facts.unjudged & (rule.rule == "confidence")) | same,
        "majority": replace,
        "unmatched": trusted,
        "tied": tied,
    }
    labels["reason"] = np.select(list(conditions.values()), list(conditions), default="unsure")
    labels["decision"] = labels["reason"].map(REASONS)
    relabeled, undecided = (labels["decision"] == "relabel").to_numpy(), (labels["decision"] == "undecided").to_numpy()
    labels["expected_answer"] = np.where(relabeled, tally.winner, labels["original_expected_answer"]).astype(str)
    labels["votes"] = np.where(relabeled | undecided, tally.largest, tally.reference).astype(np.int32)
    labels["seeds"], labels["tied"] = tally.seeds, tied
    labels["agreement"] = (labels["votes"] / labels["seeds"].clip(lower=1)).astype("float32")
    best = np.where(relabeled, largest, np.where(undecided, np.maximum(reference, largest), reference))
    labels["confidence"] = best.astype("float32")
    return labels
