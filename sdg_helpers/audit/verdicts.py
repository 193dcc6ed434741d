"""A person's decisions on verdicts: draw a sample, keep the decisions, give every tier an error rate.

Decisions are kept in one file per run, decisions.jsonl, keyed by comparison. It can be shared and survives `sdg reset`.
A person's decision overrides rules and model wherever the same comparison comes up again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.judging.comparisons import RULED, row_key

FILE = "decisions.jsonl"
# What is believed of a tier before anybody looked: errors and decisions, as pseudo-counts.
_PRIOR = {**dict.fromkeys(("exact", *RULED), (0.05, 100.0)), "person": (0.05, 100.0), "vote": (0.0, 1.0)}
_MODEL_PRIOR = (1.0, 33.0)


def sample_decisions(
    stores: Iterable[Path], decisions: Path, per_stratum: int = 10, random_seed: int = 0
) -> list[dict[str, Any]]:
    """Return rows of the comparison stores, up to per_stratum for each tier and verdict, in random order.

    What a person has decided already is left out. Reads the stores once, and holds only the sample.
    """
    known = {row_key(row) for row in files.read_log(decisions)}
    chance, seen = random.Random(random_seed), dict[tuple[str, bool], int]()
    sample: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for row in _decided(stores):
        if row_key(row) in known:
            continue
        stratum = row["how"], row["judgement"]
        seen[stratum] = seen.get(stratum, 0) + 1
        kept = sample.setdefault(stratum, [])
        if len(kept) < per_stratum:
            kept.append(row)
        elif (place := chance.randrange(seen[stratum])) < per_stratum:
            kept[place] = row
    rows = [row for stratum in sorted(sample) for row in sample[stratum]]
    chance.shuffle(rows)  # whoever decides should not guess the tier from the order
    return rows


def _decided(stores: Iterable[Path]) -> Iterator[dict[str, Any]]:
    known = set()
    for row in (row for path in stores for row in files.read_log(path)):
        if row["judgement"] is not None and row["how"] != "exact" and row_key(row) not in known:
            known.add(row_key(row))
            yield row


def record_decision(decisions: Path, row: dict[str, Any], equal: bool) -> None:
    """Append a person's decision on a row of a comparison store."""
    with files.AppendLog(decisions) as log:
        log.append(
            {
                "id": row["id"],
                "predicted_answer": row["predicted_answer"],
                "expected_answer": row["expected_answer"],
                "judgement": equal,
                "how": "person",
                "audited": {"how": row["how"], "judgement": row["judgement"]},
            }
        )


@dataclass(frozen=True)
class TierError:
    """How often a tier's verdicts are wrong: decisions looked at, errors among them, and the estimate with its
    standard deviation (of a Beta posterior that starts from a weak belief)."""

    decisions: int
    errors: int
    rate: float
    sd: float

    @property
    def interval(self) -> tuple[float, float]:
        """The central 90 % of the estimate, roughly."""
        return max(0.0, self.rate - 1.645 * self.sd), min(1.0, self.rate + 1.645 * self.sd)


def tier_errors(decisions: Path | None) -> dict[str, TierError]:
    """Return the error of every tier, from the decisions on it and a weak belief. decisions: None for none."""
    counts: dict[str, list[int]] = {tier: [0, 0] for tier in (*RULED, "model", "imported", "vote", "person")}
    for row in _latest(decisions) if decisions else ():
        audited = row.get("audited") or {}
        if audited.get("how") in counts:
            counts[audited["how"]][0] += 1
            counts[audited["how"]][1] += audited["judgement"] != row["judgement"]
    return {tier: _estimate(tier, *of_tier) for tier, of_tier in counts.items()}


def _estimate(tier: str, number: int, errors: int) -> TierError:
    wrong, total = _PRIOR.get(tier, _MODEL_PRIOR)
    wrong, total = wrong + errors, total + number
    rate = wrong / total
    return TierError(number, errors, rate, sqrt(rate * (1 - rate) / (total + 1)))


def _latest(decisions: Path) -> list[dict[str, Any]]:
    """The decisions, each comparison's last one."""
    return list({row_key(row): row for row in files.read_log(decisions)}.values())


def cohens_kappa(decisions: Path) -> float | None:
    """Return the agreement of person and judge beyond chance (Cohen, 1960); None while nobody has decided."""
    pairs = [(row["judgement"], row["audited"]["judgement"]) for row in _latest(decisions) if row.get("audited")]
    if not pairs:
        return None
    observed = sum(one == other for one, other in pairs) / len(pairs)
    person, judge = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    chance = person * judge + (1 - person) * (1 - judge)
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)
