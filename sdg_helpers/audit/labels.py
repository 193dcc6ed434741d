"""A person's decisions on labels: which new labels are right, in label_decisions.jsonl.

The file can be shared and survives `sdg reset`. Stage 05 follows it: a label that a person confirmed is used, one that
a person rejected is not, whatever the votes say.
"""

from __future__ import annotations

import random
from collections import Counter
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
        log.append(
            {
                "id": row["id"],
                "label": row["expected_answer"],
                "right": right,
                "audited": {"decision": row["decision"], "confidence": round(float(row["confidence"]), 4)},
            }
        )


def apply_decisions(labels: pd.DataFrame, decisions: Path | None) -> Counter[str]:
    """Change labels (the columns of labels.parquet) as a person decided; return how many for each reason.

    confirmed: the person's label is the reference, corrected: it is not; rejected: the label in use is one that the
    person called wrong, and there is no other. Each label's last decision counts.
    """
    changed: Counter[str] = Counter()
    latest = {(row["id"], canonical(row["label"])): row for row in (files.read_log(decisions) if decisions else ())}
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
    latest = {(row["id"], row["label"]): row for row in files.read_log(decisions)}.values()
    rows = [row for row in latest if row["audited"]["decision"] == "relabel"]
    return len(rows), sum(not row["right"] for row in rows), sum(1 - row["audited"]["confidence"] for row in rows)
