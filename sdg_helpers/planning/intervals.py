"""How far a plan may be off: resample the problems of a pilot run, and change one figure at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdg_helpers import files
from sdg_helpers.budgets.prices import Prices
from sdg_helpers.judging.verdicts import read_outcomes
from sdg_helpers.planning.estimate import Range
from sdg_helpers.planning.scale import Scale, total
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions.rows import read_id, summarize_row
from sdg_helpers.solutions.seed_files import seed_files

_RESAMPLES = 1000
_CENTRAL = (0.05, 0.95)
_NORMAL = 1.645  # half of the central 90 % of a normal distribution, in standard deviations
_MAX_BYTES = 32 << 20  # of solutions that are read, over all seeds: a sample is enough, and a plan takes no second
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pilot:
    """What a small run measured of each of its problems; arrays of one length.

    tokens: mean of its solutions; right: share of its solutions that are right; asked: comparisons that a model
    decided. of: how many problems the whole has, None if unknown.
    """

    tokens: Floats
    right: Floats
    asked: Floats
    of: int | None = None

    def __len__(self) -> int:
        return len(self.tokens)


def read_pilot(track: Track, of: int | None = None) -> Pilot:
    """Read a run with complete solutions, problem by problem; of a large one, only the beginning of each file."""
    tokens: dict[str, list[int]] = defaultdict(list)
    paths = seed_files(track.solutions)
    for path in paths.values():
        for line in _first_lines(path, _MAX_BYTES // max(1, len(paths))):
            if (problem_id := read_id(line)) is not None:
                tokens[problem_id].append(summarize_row(line).tokens)
    right, judged, asked = Counter[str](), Counter[str](), Counter[str]()
    if verdicts := track.verdicts():
        for problem_id, correct in read_outcomes(verdicts):
            judged[problem_id] += 1
            right[problem_id] += bool(correct)
    store = track.folder / "judged" / "comparisons.jsonl"
    if store.exists():
        asked.update(row["id"] for row in islice(files.read_log(store), 100_000) if row.get("how") == "model")
    return Pilot(
        np.array([np.mean(counts) for counts in tokens.values()]),
        np.array([right[one] / max(1, judged[one]) for one in tokens]),
        np.array([float(asked[one]) for one in tokens]),
        of,
    )


def _first_lines(path: Path, size: int) -> Iterator[bytes]:
    with open(path, "rb", buffering=1 << 20) as file:
        while file.tell() < size and (line := file.readline()):
            yield line


def ranges(
    scale: Scale, pilot: Pilot | None, prices: Prices | None = None, judge_prices: Prices | None = None
) -> dict[str, Range]:
    """Return requests, tokens, money … of the whole run with their intervals; without a pilot, the values alone.

    The interval is that of a bootstrap over the problems, widened for few problems as Student's t is, and narrowed when
    the pilot has many of the whole's. It covers the choice of problems, not a speed that changes.
    """
    known = total(scale, prices, judge_prices)._asdict()
    known.pop("stage")
    if pilot is None or len(pilot) < 2:
        return {name: Range(value, value, value) for name, value in known.items()}
    drawn = np.random.default_rng(0).integers(len(pilot), size=(_RESAMPLES, len(pilot)))
    resampled: dict[str, Any] = {
        name: getattr(scale, name) * values[drawn].mean(axis=1) / values.mean()
        for name, values in (
            ("mean_tokens", pilot.tokens),
            ("comparisons_per_problem", pilot.asked),
            ("share_kept", pilot.right),
        )
        if values.mean() > 0
    }
    spread = total(replace(scale, **resampled), prices, judge_prices)._asdict()
    widened = _t_quantile(len(pilot) - 1) / _NORMAL * sqrt(len(pilot) / (len(pilot) - 1))
    widened *= sqrt(max(0.0, 1 - len(pilot) / pilot.of)) if pilot.of else 1.0
    return {name: _interval(value, spread[name], widened) for name, value in known.items()}


def _interval(value: float, resampled: Any, widened: float) -> Range:
    if not value or np.ndim(resampled) == 0:
        return Range(value, value, value)
    low, high = (float(one) for one in np.quantile(resampled, _CENTRAL))
    low, high = (exp(widened * log(max(one, value / 1e3) / value)) for one in (low, high))
    return Range(value, value * min(low, 1.0), value * max(high, 1.0))


def _t_quantile(degrees: int) -> float:
    """Return the 0.95 quantile of Student's t (Hill's expansion, exact enough from 3 degrees on)."""
    z = _NORMAL
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def sensitivities(
    scale: Scale, quantity: str, prices: Prices | None = None, judge_prices: Prices | None = None
) -> list[tuple[str, float]]:
    """Return by how much (a fraction) a quantity of the plan grows with 10 % more of each figure, the largest first."""
    base = getattr(total(scale, prices, judge_prices), quantity)
    found = []
    for field in fields(scale):
        more = replace(scale, **{field.name: getattr(scale, field.name) * 1.1})
        change = getattr(total(more, prices, judge_prices), quantity) / base - 1 if base else 0.0
        if abs(change) >= 0.0005:
            found.append((field.name, float(change)))
    return sorted(found, key=lambda one: (-abs(one[1]), one[0]))
