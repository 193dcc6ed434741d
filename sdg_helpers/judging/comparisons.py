"""Store each decided comparison (problem, predicted answer, expected answer) once, in an append-only file.

Judging again, after a crash or against relabeled answers, then costs only the new comparisons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.equality import RULES

# How a comparison was decided. From `ambiguous` on there is no verdict: the solution has several different answers, the
# answer talks to the judge, verdicts contradict each other, the judge's reply is unreadable, the request failed, the
# problem has no label, nobody was asked yet.
RULED = ("exact", "numeric", "symbolic")
_UNDECIDED = ("ambiguous", "suspect", "contradicted", "unreadable", "failed", "no_label", "pending")
HOW = ("missing", *RULED, "model", "person", "imported", *_UNDECIDED)
_CORRECT = (True, False, None)


def comparison_key(problem_id: str, predicted: str, expected: str) -> int:
    """Hash a comparison to 64 bits. The hash is this process's own: it is never stored."""
    return hash((problem_id, predicted, expected))


def encode_verdict(correct: bool | None, how: str) -> int:
    """Encode a verdict as a small number, so that millions fit in memory."""
    return HOW.index(how) * 3 + _CORRECT.index(correct)


def decode_verdict(number: int) -> tuple[bool | None, str]:
    """Return (correct, how) of an encoded verdict."""
    return _CORRECT[number % 3], HOW[number // 3]


_USED = 64  # added to the code of a comparison that at least one row has used
PENDING = encode_verdict(None, "pending")


class Comparisons:
    """The encoded verdicts of all comparisons, by 64-bit key. About 100 bytes each."""

    def __init__(self, model: str, prompt_id: str, tiers: str):
        """model, prompt_id: of the judge; verdicts of another model or prompt are not reused."""
        self.model, self.prompt_id, self.tiers = model, prompt_id, tiers
        self.used: Counter[str] = Counter()  # how -> number of comparisons that `use` returned
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
        """Return (correct, how) of a comparison and count it in `used` the first time."""
        number = self._codes[key]
        found = decode_verdict(number % _USED)
        if number < _USED:
            self._codes[key] = number + _USED
            self.used[found[1]] += 1
        return found

    def read(self, path: Path | str) -> Comparisons:
        """Add the rows of a store that are still valid: decided by the current rules or by this judge."""
        for row in files.read_log(path):
            if self._is_valid(row):
                self._codes[row_key(row)] = encode_verdict(row["judgement"], row["how"])
        return self

    def _is_valid(self, row: dict[str, Any]) -> bool:
        if row["how"] in RULED:
            return row["rules"] == RULES and (self.tiers == "all" or row["how"] == "exact")
        if row["how"] == "person":
            return isinstance(row["judgement"], bool)
        if row["how"] == "imported":  # decided by the judge of another tool
            return row["judgement"] is not None
        return row["how"] == "model" and (row["model"], row["prompt"]) == (self.model, self.prompt_id)


def row_of(problem_id: str, predicted: str, expected: str, correct: bool | None, how: str, **more: Any) -> bytes:
    """Return one line of a store. more: model, prompt and reply of a model's verdict."""
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
    """Return the key of any row with id, predicted_answer and expected_answer."""
    return comparison_key(row["id"], row["predicted_answer"], row["expected_answer"])
