"""A person's decisions on the answers that the votes chose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sdg_helpers.answers.equality import canonical
from sdg_helpers.audit.labels import apply_decisions
from sdg_helpers.labels.ballots import Ballots, Ints
from sdg_helpers.labels.votes import Tally


def follow_decisions(labels: pd.DataFrame, tally: Tally, ballots: Ballots, groups: Ints, decisions: Path) -> None:
    """Change labels, and the group of ballots that each names, as a person decided (see audit.labels).

    labels: one row per question, with the columns of the vote's labels.parquet. An answer that the person called
    right becomes the label, and its question is kept. A question is dropped as "rejected" where the person called its
    winner wrong.
    """
    kept = labels["reason"] == ""
    decided = pd.DataFrame(
        {
            "id": labels["id"],
            "expected_answer": labels["expected_answer"],
            "original_expected_answer": pd.array([""] * len(labels), dtype="str"),
            "decision": np.where(kept, "relabel", "undecided"),
            "reason": labels["reason"],
            "confidence": labels["confidence"],
        }
    )
    apply_decisions(decided, decisions)
    for place in np.flatnonzero(decided["reason"].isin(("corrected", "rejected"))):
        labels.loc[place, "reason"] = "" if decided.at[place, "decision"] == "relabel" else "rejected"
        labels.loc[place, ["expected_answer", "confidence"]] = decided.loc[place, ["expected_answer", "confidence"]]
        if not labels.at[place, "reason"]:
            rows = np.flatnonzero(ballots.problem == place)
            label = canonical(labels.at[place, "expected_answer"])
            same = [row for row in rows if canonical(ballots.spellings[ballots.answer[row]]) == label]
            tally.winning[place] = groups[same[0]] if same else -1
            votes = int((groups[rows] == tally.winning[place]).sum())
            labels.loc[place, ["votes", "tied"]] = votes, False
            labels.loc[place, "agreement"] = votes / max(1, int(labels.at[place, "seeds"]))
