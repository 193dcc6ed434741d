"""The comparison store: each (problem, predicted answer, expected answer) is decided once and kept in an append-only
file, so that judging again, after a crash or against repaired answers, costs only what is new."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.equality import RULES

# How a comparison was decided. Only the model's own verdicts can be in doubt: unreadable, failed.
RULED = ("exact", "numeric", "symbolic")
HOW = ("missing", *RULED, "model", "imported", "unreadable", "failed", "pending")
_CORRECT = (True, False, None)


@dataclass(frozen=True)
class Judge:
    """Who decides what no rule decides: verdicts of another model or prompt do not count."""

    model: str
    prompt: str  # the prompt's id


def comparison_key(problem_id: str, predicted: str, expected: str) -> int:
    """64 bits that stand for a comparison."""
    text = f"{len(problem_id)},{len(predicted)},{problem_id}{predicted}{expected}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def code(correct: bool | None, how: str) -> int:
    """A verdict as one small number, so that millions of them fit in memory."""
    return HOW.index(how) * 3 + _CORRECT.index(correct)


def verdict(number: int) -> tuple[bool | None, str]:
    """(correct, how) of a code."""
    return _CORRECT[number % 3], HOW[number // 3]


_USED = 64  # added to the code of a comparison that a row has asked for
PENDING = code(None, "pending")


class Comparisons:
    """What is known of every comparison: a key of 64 bits -> a code. About 100 bytes a comparison."""

    def __init__(self, judge: Judge, tiers: str):
        self.judge, self.tiers = judge, tiers
        self.used: Counter = Counter()  # comparisons by how, of those that were asked for with `use`
        self._codes: dict[int, int] = {}

    def __contains__(self, key: int) -> bool:
        return key in self._codes

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, key: int) -> int:
        return self._codes[key] % _USED

    def __setitem__(self, key: int, number: int) -> None:
        self._codes[key] = number

    def use(self, key: int) -> tuple[bool | None, str]:
        """(correct, how) of a comparison, which is counted the first time."""
        number = self._codes[key]
        found = verdict(number % _USED)
        if number < _USED:
            self._codes[key] = number + _USED
            self.used[found[1]] += 1
        return found

    def read(self, path: Path | str) -> Comparisons:
        """Add what a store's file holds, as far as it still counts: rules of this version, and this judge's words."""
        for row in files.read_log(path):
            if self._counts(row):
                self._codes[row_key(row)] = code(row["judgement"], row["how"])
        return self

    def _counts(self, row: dict[str, Any]) -> bool:
        if row["how"] in RULED:
            return row["rules"] == RULES and (self.tiers == "all" or row["how"] == "exact")
        if row["how"] == "imported":  # from another tool, whose judge is not ours to question
            return row["judgement"] is not None
        return row["how"] == "model" and (row["model"], row["prompt"]) == (self.judge.model, self.judge.prompt)


def row_of(problem_id: str, predicted: str, expected: str, correct: bool | None, how: str, **more: Any) -> bytes:
    """One line of a store. more: for a model's verdict its model, prompt and reply."""
    return files.dumps(
        {
            "id": problem_id,
            "predicted_answer": predicted,
            "expected_answer": expected,
            "judgement": correct,
            "how": how,
            "rules": RULES,
            **more,
        }
    )


def row_key(row: Mapping[str, Any]) -> int:
    """The key of a store's row, or of any row with id and both answers."""
    return comparison_key(row["id"], row["predicted_answer"], row["expected_answer"])
