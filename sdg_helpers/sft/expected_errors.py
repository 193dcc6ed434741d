"""How many exported rows are probably wrong: a wrong label, or a wrong verdict on a right one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from sdg_helpers.audit.verdicts import TierError, tier_errors

_STEPS = (1 << 12) - 1  # a probability is kept as one of 4096 steps


def read_confidence(labels: Path) -> dict[str, float]:
    """Return the confidence of each problem's label, by id; problems without one are left out."""
    table = parquet.read_table(labels, columns=["id", "confidence"])
    rows = zip(table["id"].to_pylist(), table["confidence"].to_pylist(), strict=True)
    return {problem_id: value for problem_id, value in rows if value is not None and value == value}


class ExpectedErrors:
    """Add up the probability that each row is wrong.

    confidence: of the labels, by problem id; decisions: a person's decisions on the judge's verdicts, None for none.
    """

    def __init__(self, confidence: Mapping[str, float], decisions: Path | None):
        self._confidence, self._tiers = confidence, tier_errors(decisions)
        self._rows: Counter[int] = Counter()  # by encoded row
        self._hows = [*self._tiers]

    @property
    def known(self) -> bool:
        """Whether there is any confidence to add up."""
        return bool(self._confidence)

    def of_label(self, problem_id: str) -> float:
        """Return the probability that a problem's label is wrong; 0 where nothing is known."""
        return 1 - self._confidence.get(problem_id, 1.0)

    def encode(self, problem_id: str, how: str) -> int:
        """Return a row's part in the sum as a number below 2**16, for `add`."""
        tier = self._hows.index(how) if how in self._hows else len(self._hows)
        return tier << 12 | round(self.of_label(problem_id) * _STEPS)

    def add(self, encoded: int) -> None:
        """Count one exported row."""
        self._rows[encoded] += 1

    def summary(self, problems: int) -> dict[str, Any] | None:
        """Return rows, low and high: the expected number of wrong rows and its central 90 %; None when unknown.

        problems: how many problems the rows belong to; the rows of one problem share their label's fate.
        """
        if not self.known or not self._rows:
            return None
        together = self._rows.total() / max(problems, 1)
        expected = variance = 0.0
        by_tier: Counter[int] = Counter()
        for encoded, count in self._rows.items():
            label, tier = (encoded & _STEPS) / _STEPS, encoded >> 12
            judged = self._tier(tier).rate
            expected += count * (1 - (1 - label) * (1 - judged))
            variance += count * (together * label * (1 - label) + judged * (1 - judged))
            by_tier[tier] += count
        variance += sum((count * self._tier(tier).sd) ** 2 for tier, count in by_tier.items())
        spread = 1.645 * sqrt(variance)
        low, high = max(0.0, expected - spread), min(float(self._rows.total()), expected + spread)
        return {"rows": round(expected, 2), "low": round(low, 2), "high": round(high, 2)}

    def _tier(self, number: int) -> TierError:
        return self._tiers[self._hows[number]] if number < len(self._hows) else TierError(0, 0, 0.0, 0.0)
