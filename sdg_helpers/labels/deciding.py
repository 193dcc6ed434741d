"""Decide every problem's label from what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sdg_helpers.answers.equality import canonical
from sdg_helpers.labels.ballots import Ballots, Bools, Ints
from sdg_helpers.labels.model import LabelModel, Votes
from sdg_helpers.labels.rules import COLUMNS, REASONS, RelabelRule
from sdg_helpers.labels.sound_votes import count_sound_votes
from sdg_helpers.labels.votes import Tally, voters

_REASONS = list(REASONS)


@dataclass
class Facts:
    """What is known of every problem before its label is decided; arrays of one length."""

    tally: Tally
    sound: np.ndarray  # votes of the largest group that rest on sound arithmetic, as far as it was checked
    has_reference: np.ndarray
    conflicting: np.ndarray
    unjudged: np.ndarray
    confidence: np.ndarray  # [problem, (reference, largest)]
    plausible: bool  # the model's estimate of damaged references
    table: pd.DataFrame

    @cached_property
    def same(self) -> Bools:
        """Whether the rules see no difference between the winner and a reference that no solution matches."""
        tally, same = self.tally, np.zeros(len(self.table), dtype=bool)
        places = np.flatnonzero(self.has_reference & ~self.unjudged & (tally.reference == 0) & (tally.largest > 0))
        references = self.table["original_expected_answer"].iloc[places]
        for place, reference in zip(places, references, strict=True):
            same[place] = canonical(tally.winner[place]) == canonical(reference)
        return same


class Decided(NamedTuple):
    """What a rule decides; arrays by problem. reason: index into REASONS; the others are columns of labels.parquet."""

    reason: NDArray[np.int8]
    votes: Ints
    tied: Bools
    confidence: NDArray[np.float32]

    def have(self, decision: str) -> Bools:
        """Return which problems have this decision."""
        return np.array([REASONS[reason] == decision for reason in _REASONS])[self.reason]


def decide_labels(facts: Facts, rule: RelabelRule) -> Decided:
    """Decide every problem by a rule."""
    tally = facts.tally
    reference, largest = facts.confidence.T
    tied = (tally.largest > 0) & (tally.largest == tally.second)
    solved = facts.has_reference & (tally.reference > 0)
    votes = facts.sound if rule.rule == "confidence" else tally.largest
    enough = (votes >= rule.min_votes) & (votes >= rule.min_agreement * np.maximum(tally.seeds, 1))
    likely = {
        "confidence": (largest >= rule.min_confidence) & (votes > 1) & facts.plausible,
        "majority": tally.largest > 0,
        "never": np.False_,
    }
    replace = ~solved & ~facts.unjudged & enough & likely[rule.rule] & (~tied | (rule.rule == "majority"))
    trusted = facts.has_reference & ((reference >= rule.min_confidence) | (rule.rule != "confidence"))
    conditions = {
        "conflicting": facts.conflicting & (rule.rule == "confidence"),
        "matched": solved & trusted,
        "outvoted": solved,
        "no_votes": ~facts.has_reference & (tally.largest == 0),
        "unjudged": (facts.unjudged & (rule.rule == "confidence")) | (replace & facts.same),  # whatever the judge said
        "majority": replace,
        "unmatched": trusted,
        "miscalculated": votes < tally.largest,
        "tied": tied,
    }
    codes = [np.int8(_REASONS.index(reason)) for reason in conditions]
    found = Decided(
        np.select(list(conditions.values()), codes, default=np.int8(_REASONS.index("unsure"))), votes, tied, reference
    )
    relabeled, undecided = found.have("relabel"), found.have("undecided")
    best = np.where(relabeled, largest, np.where(undecided, np.maximum(reference, largest), reference))
    votes = np.where(relabeled | undecided, votes, tally.reference).astype(np.int32)
    return Decided(found.reason, votes, tied, best.astype(np.float32))


def label_table(facts: Facts, decided: Decided) -> pd.DataFrame:
    """Return labels.parquet: the columns of COLUMNS."""
    reasons, decisions = (pd.array(words, dtype="str") for words in (_REASONS, list(REASONS.values())))
    answers, relabeled = facts.table["original_expected_answer"].copy(), decided.have("relabel")
    answers[relabeled] = facts.tally.winner[relabeled]
    columns = {
        "id": facts.table["id"],
        "expected_answer": answers,
        "original_expected_answer": facts.table["original_expected_answer"],
        "decision": decisions.take(decided.reason),
        "reason": reasons.take(decided.reason),
        "votes": decided.votes,
        "seeds": facts.tally.seeds,
        "tied": decided.tied,
        "agreement": (decided.votes / np.maximum(facts.tally.seeds, 1)).astype(np.float32),
        "confidence": decided.confidence,
    }
    return pd.DataFrame({name: columns[name] for name in COLUMNS})


def discount_wrong_arithmetic(
    facts: Facts, rule: RelabelRule, model: LabelModel, ballots: Ballots, groups: Ints, solutions: Path
) -> None:
    """Where the majority would replace the reference, count only the solutions without wrong equations as its votes."""
    rules = {RelabelRule(), rule if rule.rule == "confidence" else RelabelRule()}
    chosen = np.any([decide_labels(facts, one).have("relabel") for one in rules], axis=0)
    ids = facts.table["id"].tolist()
    sound = count_sound_votes(
        solutions, ((ids[place], seed) for place, seed in voters(ballots, groups, facts.tally, chosen))
    )
    tally = facts.tally
    for place in np.flatnonzero(chosen):
        votes = facts.sound[place] = sound[ids[place]]
        if votes < tally.largest[place]:
            reference = int(tally.reference[place]) if facts.has_reference[place] else None
            second = int(tally.second[place])
            facts.confidence[place] = model.confidence(
                Votes(int(votes), second, int(tally.others[place]), int(tally.seeds[place]), reference, False)
            )
            if votes <= second:  # another answer leads, or as good as leads
                facts.confidence[place, 1] = 0.0
