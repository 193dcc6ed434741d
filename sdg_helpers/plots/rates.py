"""Figures of verdicts and votes: which solutions are right, how often, and how far the votes agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from sdg_helpers.plots.labels import label
from sdg_helpers.plots.style import BLUE, GREEN, GREY, ORANGE, WIDTH, headline, legend, use_integer_ticks

WRONG, RIGHT, UNDECIDED, ABSENT = 0, 1, 2, 3


def verdict_grid(verdicts: pd.DataFrame, title: str, max_problems: int = 60, max_seeds: int = 64) -> Figure:
    """Draw problems (columns) × seeds (rows) as right, wrong or undecided: the table's first problems, lowest seeds.

    verdicts: columns id, seed and correct (a nullable boolean).
    """
    ids = verdicts["id"].drop_duplicates().head(max_problems)
    seeds = sorted(verdicts["seed"].unique())[:max_seeds]
    some = verdicts[verdicts["id"].isin(ids) & verdicts["seed"].isin(seeds)]
    code = np.where(some["correct"].isna(), UNDECIDED, np.where(some["correct"].fillna(False), RIGHT, WRONG))
    grid = (
        some.assign(code=code)
        .pivot(index="seed", columns="id", values="code")
        .reindex(columns=ids)
        .fillna(ABSENT)
        .to_numpy()
    )
    figure, axes = plt.subplots(figsize=(WIDTH + 1, 1.5 + 0.22 * grid.shape[0]), layout="constrained")
    axes.imshow(grid, cmap=ListedColormap([ORANGE, GREEN, GREY, "white"]), vmin=0, vmax=3, aspect="auto")
    axes.set_yticks(range(grid.shape[0]), [str(seed) for seed in sorted(some["seed"].unique())])
    for name, colour in (("right", GREEN), ("wrong", ORANGE), ("undecided", GREY)):
        axes.plot([], [], "s", color=colour, label=name)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    right, undecided = int(verdicts["correct"].fillna(False).sum()), int(verdicts["correct"].isna().sum())
    finding = f"{right:,} of {len(verdicts):,} solutions are right, {undecided:,} undecided" if len(verdicts) else ""
    return headline(figure, finding, title, f"{len(ids)} problems, in order", "seed")


def pass_rates(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw how many problems have which share of right solutions, one colour per table of verdicts (at most three).

    Undecided solutions are not right here.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.1), layout="constrained")
    shares = _possible_shares(max((table["seed"].nunique() for table in tables.values()), default=1))
    width = 0.9 * shares[1] / len(tables)
    rates = {
        name: verdicts["correct"].fillna(False).astype(float).groupby(verdicts["id"]).mean()
        for name, verdicts in tables.items()
    }
    for place, (name, rate) in enumerate(rates.items()):
        axes.bar(
            shares + (place - (len(tables) - 1) / 2) * width,
            _count_nearest(rate, shares),
            width,
            label=label(name),
            color=(GREY, BLUE, GREEN)[-len(tables) :][place],
        )
    if len(tables) > 1:
        legend(figure)
    _set_share_ticks(axes, shares)
    return headline(figure, _explain_rates(rates), title, "share of a problem's solutions that are right", "problems")


def agreement(labels: pd.DataFrame, title: str, by: str, names: Mapping[Any, str]) -> Figure:
    """Draw the agreement of the votes: the share of the seeds that gave the label, or the majority's answer.

    labels: columns seeds, votes, agreement and `by`; names: value of `by` -> its words in the legend.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.1), layout="constrained")
    voted = labels[labels["votes"] > 0]
    shares = _possible_shares(max(voted["seeds"], default=1))
    below = np.zeros(len(shares))
    for (value, name), colour in zip(names.items(), (GREY, ORANGE, BLUE), strict=False):
        counts = _count_nearest(voted.loc[voted[by] == value, "agreement"], shares)
        axes.bar(shares, counts, 0.9 * shares[1], below, color=colour, label=label(name))
        below += counts
    if names:
        legend(figure)
    _set_share_ticks(axes, shares)
    alike = int((voted["agreement"] == 1).sum())
    finding = f"All solutions agree on {alike:,} of {len(voted):,} problems with a vote" if len(voted) else ""
    return headline(figure, finding, title, "votes / seeds", "problems")


def calibration(rows: Sequence[Mapping[str, Any]], title: str, finding: str = "") -> Figure:
    """Draw how often a majority of each size is right.

    rows: as in the manifest of relabeling: votes, seeds, problems, matched (share whose reference agrees), right
    (estimate). The size of a dot follows the number of problems.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.3), layout="constrained")
    table = pd.DataFrame(rows, columns=["seeds", "votes", "problems", "matched", "right"]).astype(float)
    table["share"] = table["votes"] / table["seeds"].clip(lower=1)
    table = table.sort_values("share")
    axes.scatter(
        table["share"], table["matched"], 20 + 4 * table["problems"].clip(upper=100), GREY, label="reference agrees"
    )
    axes.plot(table["share"], table["right"], "o-", color=BLUE, label="right (estimate)")
    axes.set_xlim(0, 1.05)
    axes.set_ylim(-0.05, 1.05)
    legend(figure)
    return headline(figure, finding, title, "votes of the largest group / seeds", "share of its problems")


def _explain_rates(rates: Mapping[str, pd.Series]) -> str:
    """Return how many problems are always and never solved by the last table, and what it was by the first."""
    *earlier, (_, last) = rates.items()
    if not len(last):
        return ""
    always, never = (last == 1).sum(), (last == 0).sum()
    found = f"{always:,} of {len(last):,} problems are always solved, {never:,} never"
    if earlier:
        name, first = earlier[0]
        found += f" ({name}: {(first == 1).sum():,} and {(first == 0).sum():,})"
    return found


def _possible_shares(total: int) -> np.ndarray:
    """Return the shares that `total` votes or solutions can have, 0 to 1; in tenths for more than ten."""
    parts = max(1, min(int(total), 10))
    return np.arange(parts + 1) / parts


def _count_nearest(values: pd.Series, shares: np.ndarray) -> np.ndarray:
    """Count the values nearest to each share."""
    return np.bincount((values.to_numpy(float) * (len(shares) - 1) + 0.5).astype(int), minlength=len(shares))


def _set_share_ticks(axes: Axes, shares: np.ndarray) -> None:
    axes.set_xticks(shares, [f"{share:.2g}" for share in shares])
    use_integer_ticks(axes.yaxis)
