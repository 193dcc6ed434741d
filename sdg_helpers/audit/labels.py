"""A person's decisions on labels: which new labels are right, in label_decisions.jsonl.

The file can be shared and survives `sdg reset`. Stage 05 follows it: a label that a person confirmed is used, one that
a person rejected is not, whatever the votes say.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sdg_helpers import files
from sdg_helpers.answers.equality import canonical

FILE = "label_decisions.jsonl"


def sample_labels(labels: Path, decisions: Path, number: int, random_seed: int = 0) -> list[dict[str, Any]]:
    """Return up to `number` relabeled rows of labels.parquet that nobody has decided on, in random order."""
    if not labels.exists():
        return []
    table = pd.read_parquet(labels, filters=[("decision", "==", "relabel")])
    known = {(row["id"], row["label"]) for row in files.read_log(decisions)}
    rows = [
        row for row in table.to_dict("records")
        if row["reason"] == "majority" and (row["id"], row["expected_answer"]) not in known
    ]  # fmt: skip
    return random.Random(random_seed).sample(rows, min(number, len(rows)))


def record_label(decisions: Path, row: dict[str, Any], right: bool) -> None:
    """Append a person's decision on the label of a row of labels.parquet."""
    with files.AppendLog(decisions) as log:
        log.append(_decision(row["id"], row["expected_answer"], right, row["decision"], row["confidence"]))


def _decision(name: str, label: str, right: bool, decision: str, confidence: float) -> dict[str, Any]:
    audited = {"decision": decision, "confidence": round(float(confidence), 4)}
    return {"id": name, "label": label, "right": right, "audited": audited}


@dataclass(frozen=True)
class Case:
    """What labels.parquet says of one problem; `label` is its expected_answer, `reference` the original one."""

    id: str
    reference: str
    label: str
    decision: str
    reason: str
    confidence: float


def record_choice(decisions: Path, case: Case, right: str | None) -> None:
    """Append a person's choice among all answers to a problem: the right one, or None when no answer is right.

    The reference, the label in use and what was called right before are recorded as wrong unless they are chosen; where
    there is no reference, the majority's answer too, whether or not it is in use.
    """
    rejected = [right_labels(decisions).get(case.id), *([case.reference] if right is None else [])]
    if case.decision == "relabel" or not case.reference:
        rejected.insert(0, case.label)
    chosen = None if right is None else canonical(right)
    wrong = {canonical(label): label for label in reversed(rejected) if label and canonical(label) != chosen}
    in_use = {canonical(case.label): case.decision if case.reason == "majority" else case.reason}
    choices = [(label, False) for label in wrong.values()] + ([(right, True)] if right is not None else [])
    lines = [
        files.dumps(_decision(case.id, label, is_right, in_use.get(canonical(label), "unused"), case.confidence))
        for label, is_right in choices
    ]
    with files.AppendLog(decisions) as log:
        log.append(b"".join(lines))


def right_labels(decisions: Path) -> dict[str, str | None]:
    """Return the label that a person called right, by problem; None where the person only called labels wrong."""
    found: dict[str, str | None] = {}
    for row in files.read_log(decisions):
        known = found.setdefault(row["id"], None)
        if row["right"]:
            found[row["id"]] = row["label"]
        elif known is not None and canonical(known) == canonical(row["label"]):
            found[row["id"]] = None
    return found


def apply_decisions(labels: pd.DataFrame, decisions: Path | None) -> Counter[str]:
    """Change labels (the columns of labels.parquet) as a person decided; return how many for each reason.

    confirmed: the person's label is the reference, corrected: it is not; rejected: the label in use is one that the
    person called wrong, and there is no other. Each label's last decision counts.
    """
    changed: Counter[str] = Counter()
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in files.read_log(decisions) if decisions else ():
        latest.pop((row["id"], canonical(row["label"])), None)  # a later decision is also applied later
        latest[row["id"], canonical(row["label"])] = row
    places = {name: place for place, name in enumerate(labels["id"])} if latest else {}
    for (name, value), row in latest.items():
        if name not in places:
            continue
        place = labels.index[places[name]]
        reference = canonical(labels.at[place, "original_expected_answer"])
        if row["right"]:
            reason, decision = ("confirmed", "keep") if value == reference else ("corrected", "relabel")
            labels.loc[place, ["expected_answer", "confidence"]] = row["label"], 1.0
        elif labels.at[place, "decision"] != "undecided" and canonical(labels.at[place, "expected_answer"]) == value:
            reason, decision = "rejected", "undecided"
            labels.loc[place, "expected_answer"] = labels.at[place, "original_expected_answer"]
        else:
            continue
        labels.loc[place, ["decision", "reason"]] = decision, reason
        changed[reason] += 1
    return changed


def count_errors(decisions: Path) -> tuple[int, int, float]:
    """Return how many new labels were decided on, how many of them are wrong, and how many were expected to be."""
    latest = {(row["id"], canonical(row["label"])): row for row in files.read_log(decisions)}.values()
    rows = [row for row in latest if row["audited"]["decision"] == "relabel"]
    return len(rows), sum(not row["right"] for row in rows), sum(1 - row["audited"]["confidence"] for row in rows)
