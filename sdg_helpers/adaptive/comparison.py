"""What adaptive sampling saves: solutions replayed as if it had been used."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from sdg_helpers.adaptive.pass_rates import stopped_path
from sdg_helpers.adaptive.rule import AdaptiveRule, fit_prior
from sdg_helpers.stages import Stage


def savings(solutions: Stage, verdicts: Path, rule: AdaptiveRule) -> pd.DataFrame:
    """Compare uniform with adaptive sampling on a run's own solutions, as compare_with_uniform does.

    Of a run that was sampled adaptively, only what uniform sampling would have generated is known.
    """
    is_right = right_by_seed(verdicts)
    if not (stopped := stopped_path(solutions)).exists():
        return compare_with_uniform(is_right, rule)
    seeds, cap = pd.read_parquet(stopped, columns=["seeds"])["seeds"], solutions.require()["parameters"]["num_seeds"]
    right = is_right.sum(axis=1)
    useful = int(np.minimum(right, rule.target).sum())
    rows = {"uniform": (len(seeds) * cap, None, None), "adaptive": (int(seeds.sum()), useful, int((right > 0).sum()))}
    return pd.DataFrame.from_dict(rows, orient="index", columns=_columns(rule), dtype=float)


def _columns(rule: AdaptiveRule) -> list[str]:
    return ["solutions generated", f"right, at most {rule.target} per problem", "problems solved"]


def right_by_seed(verdicts: Path) -> np.ndarray:
    """Return which solutions are right, from verdicts.parquet: a bool array of shape (problems, seeds)."""
    table = pd.read_parquet(verdicts, columns=["id", "seed", "correct"])
    problems, ids = pd.factorize(table["id"])
    right = np.zeros((len(ids), int(table["seed"].max()) + 1 if len(table) else 1), dtype=bool)
    right[problems, table["seed"]] = table["correct"].eq(True).to_numpy()
    return right


def compare_with_uniform(is_right: np.ndarray, rule: AdaptiveRule | None = None) -> pd.DataFrame:
    """Replay solutions with adaptive sampling. is_right: a bool array of shape (problems, seeds).

    Return one row for `uniform` and one for `adaptive`, which sees the same solutions, but stops earlier: solutions
    generated, right ones that are useful (at most rule.target per problem), and problems solved.
    """
    rule, num_seeds = rule or AdaptiveRule(), is_right.shape[1]
    running = np.concatenate([np.zeros((len(is_right), 1), dtype=int), is_right.cumsum(axis=1)], axis=1)
    seeds = _adaptive_seeds(running, num_seeds, rule)
    right = {"uniform": running[:, -1], "adaptive": running[np.arange(len(seeds)), seeds]}
    generated = {"uniform": len(is_right) * num_seeds, "adaptive": int(seeds.sum())}
    rows = {
        name: (generated[name], int(np.minimum(found, rule.target).sum()), int((found > 0).sum()))
        for name, found in right.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=_columns(rule))


def _adaptive_seeds(running: np.ndarray, cap: int, rule: AdaptiveRule) -> np.ndarray:
    """Return how many seeds each problem gets. running: right ones among the first n seeds, (problems, cap + 1)."""
    first = min(rule.first, cap)
    prior = fit_prior(Counter((first, right) for right in running[:, first].tolist()))
    final = np.full(len(running), first)
    for number, row in enumerate(running.tolist()):
        stopped = ""
        while not stopped:
            final[number], stopped = rule.next(int(final[number]), row[final[number]], 0, cap, prior)
    return final
