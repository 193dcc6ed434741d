"""The label court: suspect labels by doubt, and a person's decisions on them, kept by `audit.labels`.

Code has none: its programs are judged by tests, and no votes stand against them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from sdg_helpers.answers.equality import canonical
from sdg_helpers.audit import labels
from sdg_helpers.browser.problem import Problems
from sdg_helpers.errors import SdgError

# In science every answer is: nobody has checked it.
_SUSPECT = "decision IN ('relabel', 'undecided', 'voted') AND coalesce(reason, '') != 'no_votes'"
CHOICES = ("confirm", "keep", "discard")


class Court:
    """Suspect labels of a run's math or science track. `path`: where the decisions are kept."""

    def __init__(self, run: Path):
        self.path = run / labels.FILE
        self._lock = Lock()  # requests are answered by several threads

    def docket(self, database: sqlite3.Connection) -> dict[str, Any]:
        """Return the positions of the suspect labels, most doubtful first, and the decisions on them by position.

        Undecided labels and new ones, which in science are all; the lower a label's confidence, the earlier it comes.
        """
        cases = [
            position
            for (position,) in database.execute(
                f"SELECT position FROM problems WHERE {_SUSPECT} ORDER BY confidence NULLS FIRST, position"
            )
        ]
        decided = {}
        for name, label in labels.right_labels(self.path).items():
            sql = f"SELECT position, reference FROM problems WHERE id = ? AND {_SUSPECT}"
            for position, reference in database.execute(sql, (name,)):
                kept = label is not None and canonical(label) == canonical(reference)
                decided[position] = "discard" if label is None else "keep" if kept else "confirm"
        return {"cases": cases, "decided": decided}

    def decide(self, database: sqlite3.Connection, problems: Problems, given: Mapping[str, Any]) -> dict[str, Any]:
        """Record a decision; return it. given: position; choice: one of CHOICES; seed: of the solution whose answer is
        confirmed.

        confirm: this answer is right; keep: the reference is; discard: neither of them is.
        Raises SdgError for anything else.
        """
        position, choice, seed = (given.get(key) for key in ("position", "choice", "seed"))
        if type(position) is not int or choice not in CHOICES:
            raise SdgError(f"expected the position of a problem and one of {', '.join(CHOICES)}.")
        row = database.execute(
            "SELECT id, reference, label, decision, reason, coalesce(confidence, 0) FROM problems "
            f"WHERE position = ? AND {_SUSPECT}",
            (position,),
        ).fetchone()
        if row is None:
            raise SdgError(f"problem number {position} has no suspect label.")
        case = labels.Case(*row)
        answer = problems.answer(position, seed) if choice == "confirm" and type(seed) is int else None
        if choice == "confirm" and not answer:
            raise SdgError(f"problem {case.id}: the solution of seed {seed!r} has no answer to confirm.")
        if choice == "keep" and not case.reference:
            raise SdgError(f"problem {case.id} has no reference to keep.")
        with self._lock:
            labels.record_choice(self.path, case, {"keep": case.reference, "confirm": answer}.get(choice))
        return {"position": position, "choice": choice}
