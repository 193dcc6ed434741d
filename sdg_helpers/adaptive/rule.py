"""How many solutions a problem should get next, from how many of those that it has are right."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

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


@dataclass(frozen=True)
class AdaptiveRule:
    """Ask for `first` solutions of every problem; then for more, until `target` are right.

    min_rate: stop where the expected pass rate is below it: another right solution would cost 1 / min_rate others.
    settled: share of a problem's solutions, none of which matches the reference, that must agree on another answer to
    stop, once `target` of them do. Labels are decided later, by more careful rules; this only saves tokens.
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

        seeds, right: asked for so far, and how many of them are right. agreeing: the most solutions that agree on one
        answer. cap: the most seeds that a problem may get. The next round asks for as many as right ones are missing,
        which would do if all were right: the last ones asked for are then never too many.
        """
        if right >= self.target:
            return seeds, "target"
        if seeds >= cap:
            return seeds, "cap"
        if not right and agreeing >= self.target and agreeing >= self.settled * seeds:
            return seeds, "settled"
        if prior.rate(seeds, right) < self.min_rate:
            return seeds, "too_hard"
        return min(cap, seeds + self.target - right), ""


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


class PassRates:
    """Unbiased pass rates of problems whose number of solutions was chosen by the rule.

    A problem stops as soon as enough of its solutions are right, so right / seeds is too high on average. Given how
    it ended, all orders in which its right solutions can have come are equally likely; the share of them that begin
    with a right one is unbiased (Girshick, Mosteller and Savage 1946).
    """

    def __init__(self, rule: AdaptiveRule, cap: int, prior: Prior):
        self._orders: Counter[tuple[int, int]] = Counter()
        self._begun_right: Counter[tuple[int, int]] = Counter()
        self._spread(rule, cap, prior)

    def of(self, seeds: int, right: int) -> float:
        """Return the pass rate of a problem that stopped with these counts; right / seeds of one that did not."""
        orders = self._orders.get((seeds, right), 0)
        return self._begun_right[seeds, right] / orders if orders else right / max(1, seeds)

    def _spread(self, rule: AdaptiveRule, cap: int, prior: Prior) -> None:
        """Count the orders that lead to each state, from the first round on."""
        first = min(rule.first, cap)
        open_states = {
            (first, right): (math.comb(first, right), _begun_right(first, right)) for right in range(first + 1)
        }
        while open_states:
            state = min(open_states)
            orders, begun_right = open_states.pop(state)
            wanted, stopped = rule.next(*state, agreeing=0, cap=cap, prior=prior)
            if stopped:
                self._orders[state] += orders
                self._begun_right[state] += begun_right
                continue
            more = wanted - state[0]
            for right in range(more + 1):
                known = open_states.get(after := (wanted, state[1] + right), (0, 0))
                ways = math.comb(more, right)
                open_states[after] = (known[0] + ways * orders, known[1] + ways * begun_right)


def _begun_right(seeds: int, right: int) -> int:
    return math.comb(seeds - 1, right - 1) if right else 0
