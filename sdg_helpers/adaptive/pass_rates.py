"""Unbiased pass rates of problems that were sampled adaptively, and the table that says why each of them stopped.

solutions/allocation/stopped.parquet has one row per problem: id; seeds; right; agreeing (the most others that agree on
one answer); stopped (one of STOPPED); pass_rate, and pass_rate_samples, the solutions that it rests on; first, the
solutions of round one, which every problem got whatever its results.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

from sdg_helpers.adaptive.rule import AdaptiveRule, Counts, Prior
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.pass_rates import PassRate, count
from sdg_helpers.judging.verdicts import read_batches
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.solutions.allocation import write_allocation
from sdg_helpers.stages import Stage


def stopped_path(solutions: Stage) -> Path:
    """Return the path of the table that says why each problem gets no more solutions."""
    return solutions.folder / "allocation" / "stopped.parquet"


def rounds_folder(solutions: Stage) -> Path:
    """Return the folder of the stage that judges the rounds."""
    return solutions.folder / "rounds"


class PassRates:
    """Unbiased pass rates of problems whose number of solutions was chosen by the rule.

    A problem stops as soon as enough of its solutions are right, so right / seeds is too high on average. Given how
    it ended, all orders in which its right solutions can have come are equally likely; the share of them that begin
    with a right one is unbiased (Girshick, Mosteller and Savage 1946). For a rule that asks for one solution at a time
    until k are right, that is (k - 1) / (seeds - 1).

    The orders are not equally likely where some of them would have stopped as settled. There, and for a problem that
    did not stop by this rule, the rate is that of round one, whose size depends on no result.
    """

    def __init__(self, rule: AdaptiveRule, cap: int, prior: Prior):
        self.first, self._target = min(rule.first, cap), rule.target
        self._orders: Counter[tuple[int, int]] = Counter()
        self._begun_right: Counter[tuple[int, int]] = Counter()
        self._spread(rule, cap, prior)

    def of(self, seeds: int, right: int, agreeing: int, first_right: int) -> PassRate:
        """Return the pass rate of a problem that stopped with these counts. first_right: right ones of round one."""
        orders = self._orders.get((seeds, right), 0)
        if orders and (agreeing < self._target or seeds == self.first):
            return PassRate(self._begun_right[seeds, right] / orders, seeds)
        return PassRate(first_right / self.first, self.first)

    def _spread(self, rule: AdaptiveRule, cap: int, prior: Prior) -> None:
        """Count the orders that lead to each state in which the rule stops, from round one on."""
        first = self.first
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


def write_stopped(
    solutions: Stage, index: ProblemIndex, seeds: np.ndarray, found: Counts, stopped: list[str], rates: PassRates
) -> None:
    """Write stopped.parquet. seeds, found, stopped: of the problems in the index's order."""
    counts = zip(seeds.tolist(), found.right.tolist(), found.agreeing.tolist(), found.first_right.tolist(), strict=True)
    known = [rates.of(*one) for one in counts]
    more = {
        "right": found.right,
        "agreeing": found.agreeing,
        "stopped": stopped,
        "pass_rate": [one.rate for one in known],
        "pass_rate_samples": [one.samples for one in known],
        "first": [rates.first] * len(known),
    }
    write_allocation(stopped_path(solutions), list(index), seeds, more)


def sampling_tables(solutions: Stage) -> dict[str, Path]:
    """Return what the pass rates of an adaptive run rest on besides its verdicts; {} for a uniform one.

    Raises SdgError for an adaptive run whose last round is not judged.
    """
    if "allocation" not in solutions.require().get("inputs", {}):
        return {}
    if not (stopped := stopped_path(solutions)).exists():
        raise SdgError(
            f"{solutions.folder}: the last round of adaptive sampling is not judged, so pass rates are unknown. Run "
            f"notebook {solutions.notebook or '03'} again."
        )
    return {"stopped": stopped, "rounds": rounds_folder(solutions) / "verdicts.parquet"}


def first_round(solutions: Stage) -> int | None:
    """Return how many solutions every problem got in round one, whatever its results; None for a uniform run."""
    if not (tables := sampling_tables(solutions)):
        return None
    first = parquet.read_table(tables["stopped"], columns=["first"])["first"]
    return int(first[0].as_py()) if len(first) else None


def read_pass_rates(solutions: Stage, verdicts: Path) -> dict[str, PassRate]:
    """Return pass rates by problem id, unbiased however the solutions were sampled; about 500 bytes per problem.

    Uniform sampling: right / decided solutions. Adaptive: the rate of stopped.parquet for problems whose verdicts are
    those that stopped them; of the others (a new label, a person's decision, an undecided or missing solution), right /
    decided among the solutions of round one. Problems without a decided solution there have none.
    """
    tables = sampling_tables(solutions)
    if not tables:
        return count(verdicts)
    right, decided = Counter[str](), Counter[str]()  # bit masks of the seeds
    for batch in read_batches(verdicts, ["id", "seed", "correct"]):
        for problem_id, seed, correct in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            right[problem_id] |= (correct is True) << seed
            decided[problem_id] |= (correct is not None) << seed
    changed = set()
    for batch in read_batches(tables["rounds"], ["id", "seed", "correct"]):
        for problem_id, seed, correct in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if (correct is True) != bool(right[problem_id] >> seed & 1):
                changed.add(problem_id)
    rates = {}
    columns = parquet.read_table(tables["stopped"]).select(["id", "seeds", "pass_rate", "pass_rate_samples", "first"])
    for problem_id, seeds, rate, samples, first in zip(*(column.to_pylist() for column in columns), strict=True):
        if problem_id not in changed and decided[problem_id] == (1 << seeds) - 1:
            rates[problem_id] = PassRate(rate, samples)
        elif number := (decided[problem_id] & (1 << first) - 1).bit_count():
            rates[problem_id] = PassRate((right[problem_id] & (1 << first) - 1).bit_count() / number, number)
    return rates
