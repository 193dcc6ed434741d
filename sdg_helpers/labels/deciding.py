"""Decide every problem's label from what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sdg_helpers.answers.equality import canonical
from sdg_helpers.labels.model import LabelModel, Votes
from sdg_helpers.labels.rules import REASONS, RelabelRule
from sdg_helpers.labels.sound_votes import count_sound_votes
from sdg_helpers.labels.votes import Ballots, Ints, Tally, voters


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


def decide_labels(facts: Facts, rule: RelabelRule) -> pd.DataFrame:
    """Decide every problem by a rule; returns the columns of COLUMNS."""
    tally, labels = facts.tally, facts.table.copy()
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
        "miscalculated": votes < tally.largest,
        "tied": tied,
    }
    labels["reason"] = np.select(list(conditions.values()), list(conditions), default="unsure")
    labels["decision"] = labels["reason"].map(REASONS)
    relabeled, undecided = (labels["decision"] == "relabel").to_numpy(), (labels["decision"] == "undecided").to_numpy()
    labels["expected_answer"] = np.where(relabeled, tally.winner, labels["original_expected_answer"]).astype(str)
    labels["votes"] = np.where(relabeled | undecided, votes, tally.reference).astype(np.int32)
    labels["seeds"], labels["tied"] = tally.seeds, tied
    labels["agreement"] = (labels["votes"] / labels["seeds"].clip(lower=1)).astype("float32")
    best = np.where(relabeled, largest, np.where(undecided, np.maximum(reference, largest), reference))
    labels["confidence"] = best.astype("float32")
    return labels


def discount_wrong_arithmetic(
    facts: Facts, rule: RelabelRule, model: LabelModel, ballots: Ballots, groups: Ints, solutions: Path
) -> None:
    """Where the majority would replace the reference, count only the solutions without wrong equations as its votes."""
    rules = {RelabelRule(), rule if rule.rule == "confidence" else RelabelRule()}
    chosen = np.any([decide_labels(facts, one)["decision"] == "relabel" for one in rules], axis=0)
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
