"""How often is a majority right? The run's own answer, and what each relabeling rule would have done with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdg_helpers.labels.deciding import Decided
from sdg_helpers.labels.model import LabelModel, Votes


def majority_curve(model: LabelModel, patterns: Sequence[Votes], counts: NDArray[np.intp]) -> list[dict[str, Any]]:
    """Return a row per size of the largest group: votes, seeds, problems that have a reference and such a group,
    matched (share of them whose reference is that group's answer), right (estimated share of right majorities).

    right exceeds matched by the damaged references. Ties count as majorities of the reference where it is among them.
    """
    rows: dict[tuple[int, int], list[float]] = {}
    for votes, count in zip(patterns, counts.tolist(), strict=True):
        if votes.reference is not None and votes.largest:
            right = model.largest_right(votes.largest, votes.second, votes.seeds)
            row = rows.setdefault((votes.seeds, votes.largest), [0, 0, 0.0])
            row[0], row[1], row[2] = row[0] + count, row[1] + count * votes.leads, row[2] + count * right
    return [
        {"seeds": seeds, "votes": votes, "problems": int(n), "matched": round(m / n, 4), "right": round(r / n, 4)}
        for (seeds, votes), (n, m, r) in sorted(rows.items())
    ]


def compare_rules(decided: Iterable[tuple[str, Decided]]) -> dict[str, dict[str, float]]:
    """Return, by rule, how many problems it relabels and leaves undecided, and how many labels in use are expected to
    be wrong: 1 - confidence, added up."""
    return {
        rule: {
            "relabel": int(found.have("relabel").sum()),
            "undecided": int(found.have("undecided").sum()),
            "expected_wrong": round(float((1 - found.confidence[~found.have("undecided")]).sum()), 2),
        }
        for rule, found in decided
    }
