"""How many solutions a problem should get next, from how many of those that it has are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sdg_helpers.errors import SdgError

# Why a problem gets no more solutions: it has enough right ones; no more may be asked for; its solutions agree on
# another answer than the reference; so few are right that another right one would cost too much.
STOPPED = ("target", "cap", "settled", "too_hard")


class Prior(NamedTuple):
    """A beta distribution of pass rates."""

    right: float = 0.5
    wrong: float = 0.5

    def rate(self, seeds: int, right: int) -> float:
        """Return the expected pass rate of a problem of which `right` of `seeds` solutions are right."""
        return (self.right + right) / (self.right + self.wrong + seeds)


class Counts(NamedTuple):
    """Of every problem, in order: right solutions, the most others that agree on one answer, right ones of round one.

    Arrays of integers, of one length.
    """

    right: np.ndarray
    agreeing: np.ndarray
    first_right: np.ndarray


@dataclass(frozen=True)
class AdaptiveRule:
    """Ask for `first` solutions of every problem; then for more, until `target` are right.

    min_rate: stop where the expected pass rate is below it: another right solution would cost 1 / min_rate others.
    settled: share of a problem's solutions, none of which matches the reference, that must agree on another answer to
    stop, once twice `target` of them do: fewer votes do not tell a wrong reference from a mistake that solvers repeat.
    Labels are decided later, by more careful rules; this only saves tokens.
    """

    target: int = 4
    first: int = 4
    min_rate: float = 0.05
    settled: float = 0.75

    def __post_init__(self) -> None:
        for name in ("target", "first"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise SdgError(f"{name} must be a whole number, 1 or more, not {value!r}.")
        for name in ("min_rate", "settled"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise SdgError(f"{name} must be between 0 and 1, not {value!r}.")

    def next(self, seeds: int, right: int, agreeing: int, cap: int, prior: Prior) -> tuple[int, str]:
        """Return (number of seeds to ask for in all, "" or the reason to stop).

        seeds, right: asked for so far, and how many of them are right. agreeing: the most others that agree on one
        answer. cap: the most seeds that a problem may get. The next round asks for as many as right ones are missing,
        which would do if all were right: the last ones asked for are then never too many. The second round asks for
        half of the first at least, which gives labels.relabel more votes that it can be fitted to.
        """
        if right >= self.target:
            return seeds, "target"
        if seeds >= cap:
            return seeds, "cap"
        least = self.first // 2 if seeds == self.first else 1
        if not right and agreeing >= self.target and agreeing >= self.settled * seeds:
            missing = 2 * self.target - agreeing
            return (min(cap, seeds + max(least, missing)), "") if missing > 0 else (seeds, "settled")
        if prior.rate(seeds, right) < self.min_rate:
            return seeds, "too_hard"
        return min(cap, seeds + max(least, self.target - right)), ""


def fit_prior(counts: Mapping[tuple[int, int], int]) -> Prior:
    """Fit the distribution of pass rates, by its moments, to the number of problems with (seeds, right).

    Only counts of the first round may be given: later ones are selected by their results.
    """
    total = sum(counts.values())
    mean = sum(number * right / seeds for (seeds, right), number in counts.items()) / max(1, total)
    if not total or not 0 < mean < 1:
        return Prior()
    seeds = max(seeds for seeds, _ in counts)
    variance = sum(number * (right / each - mean) ** 2 for (each, right), number in counts.items()) / total
    within, widest = mean * (1 - mean) / seeds, mean * (1 - mean)
    between = (variance - within) / (1 - 1 / seeds) if seeds > 1 else widest / 2  # one solution tells nothing about it
    strength = widest / min(max(between, 0.02 * widest), 0.9 * widest) - 1
    return Prior(max(0.05, mean * strength), max(0.05, (1 - mean) * strength))
