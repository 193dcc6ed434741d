"""What more solutions of a problem bring: pass@k and the majority of k."""

from __future__ import annotations

from math import comb

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sdg_helpers.answers.equality import canonical
from sdg_helpers.plots.style import BLUE, GREEN, WIDTH, headline, legend

_MAX_PROBLEMS = 2000  # drawn at random from more: their interval is narrow enough
_DRAWS = 32  # of k solutions, for the majority
_Z = 1.96  # 95 %


def pass_at_k(verdicts: pd.DataFrame, title: str) -> Figure:
    """Draw with which probability at least one of k solutions is right, and the most frequent answer of k, with 95 %
    intervals over the problems.

    verdicts: columns id, predicted_answer ("" or None without one) and correct (a nullable boolean). Problems count if
    they have as many decided solutions as at least half of all problems.
    """
    problems = _enough_solutions(verdicts)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.1), layout="constrained")
    finding = ""
    if problems:
        ks = range(1, len(problems[0]) + 1)
        passes = np.array([[_pass(len(rows), int(rows["correct"].sum()), k) for k in ks] for rows in problems])
        majority = _majority_rates(problems, len(ks))
        for rates, colour, name in (
            (passes, GREEN, "at least one of k"),
            (majority, BLUE, "most frequent answer of k"),
        ):
            middle = rates.mean(axis=0)
            spread = _Z * rates.std(axis=0) / np.sqrt(len(rates))
            axes.plot(ks, middle, "o-", color=colour, label=name, markersize=4)
            axes.fill_between(
                ks, middle - spread, np.minimum(1, middle + spread), color=colour, alpha=0.15, linewidth=0
            )
        axes.set_xticks(ks)
        axes.set_ylim(0, 1.05)
        legend(figure)
        finding = (
            f"One solution is right for {passes[:, 0].mean():.0%} of the problems, one of {len(ks)} for "
            f"{passes[:, -1].mean():.0%}, the majority for {majority[:, -1].mean():.0%}"
        )
    return headline(
        figure, finding, title, f"k solutions of {len(problems):,} problems", "probability of a right answer"
    )


def _enough_solutions(verdicts: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the decided solutions of every problem that has enough, cut to the same number."""
    decided = verdicts[verdicts["correct"].notna()]
    sizes = decided.groupby("id").size()
    if sizes.empty:
        return []
    most = int(np.quantile(sizes, 0.5, method="lower"))
    ids = sizes.index[sizes >= most]
    if len(ids) > _MAX_PROBLEMS:
        ids = np.random.default_rng(0).choice(ids, _MAX_PROBLEMS, replace=False)
    some = decided[decided["id"].isin(ids)]
    return [rows.head(most) for _, rows in some.groupby("id", sort=True)]


def _pass(total: int, right: int, k: int) -> float:
    """Return the share of the subsets of k of `total` solutions that hold a right one."""
    return 1 - comb(total - right, k) / comb(total, k)


def _majority_rates(problems: list[pd.DataFrame], most: int) -> np.ndarray:
    """Return (problems, k) how often the most frequent answer of k drawn solutions is right; of ties, the first."""
    random = np.random.default_rng(0)
    return np.array([_majority_rate(rows, most, random) for rows in problems])


def _majority_rate(rows: pd.DataFrame, most: int, random: np.random.Generator) -> np.ndarray:
    answers = [canonical(answer) if answer else "" for answer in rows["predicted_answer"].fillna("")]
    names = {answer: number for number, answer in enumerate(dict.fromkeys(answers))}
    groups = np.array([names[answer] for answer in answers])
    right = np.array([rows["correct"].to_numpy(bool)[groups == number].any() for number in range(len(names))])
    ballots = np.eye(len(names), dtype=int)
    if "" in names:
        ballots[names[""]] = 0  # a solution without an answer does not vote
    rate = np.zeros(most)
    for _ in range(_DRAWS):
        votes = ballots[groups[random.permutation(most)]].cumsum(axis=0)
        rate += right[votes.argmax(axis=1)] & (votes.max(axis=1) > 0)
    return rate / _DRAWS
