"""Figures for the notebooks: each function takes a table or a manifest and returns a matplotlib Figure, unshown."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sdg_helpers.formatting import format_number
from sdg_helpers.plot_labels import MAX_NAMES, label, merge_small

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"  # distinguishable for colour-blind readers
_MAX_REASONS = MAX_NAMES - 4
WRONG, RIGHT, UNDECIDED, ABSENT = 0, 1, 2, 3


def bars(counts: Mapping[str, float], title: str, xlabel: str = "") -> Figure:
    """Draw horizontal bars in the given order, each with its value; of more than 20, the largest and their rest."""
    return _bars(merge_small(counts), title, xlabel)


def _bars(counts: Sequence[tuple[str, float]], title: str, xlabel: str = "", orange: Container[str] = ()) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 0.7 + 0.38 * max(len(counts), 1)), layout="constrained")
    values, places = [float(value) for _, value in counts], range(len(counts))
    colours = [ORANGE if name in orange else BLUE for name, _ in counts]
    container = axes.barh(places, values, color=colours)
    axes.set_yticks(places, [label(name) for name, _ in counts])
    axes.bar_label(container, labels=[f" {format_number(value)}" for value in values], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    if all(value.is_integer() for value in values):
        _use_integer_ticks(axes.xaxis)
    return _label(figure, title, xlabel, "")


def funnel(
    manifest: Mapping[str, Any], title: str, rows_in: str, rows_out: str, more: Mapping[str, float] | None = None
) -> Figure:
    """Draw a stage's counts: rows in, rows dropped for each reason, rows out.

    rows_in, rows_out: what the rows are, for example "solutions" and "programs"; more: further bars below them.
    """
    counts = manifest["counts"]
    dropped = {f"dropped: {name}": count for name, count in merge_small(counts["dropped"], _MAX_REASONS)}
    shown = {rows_in: counts["rows_in"], **dropped, rows_out: counts["rows_out"], **(more or {})}
    return _bars(list(shown.items()), title, orange=dropped)


def lengths(
    edges: Sequence[int], counts: Sequence[int], title: str, xlabel: str = "generated tokens", ylabel: str = "solutions"
) -> Figure:
    """Draw a histogram with doubling bins: counts[i] values lie in [edges[i-1], edges[i])."""
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    used = np.flatnonzero(counts)
    if len(used):
        span = range(used[0], used[-1] + 1)
        labels = [f"<{edges[i]:,}" if i < len(edges) else f"≥{edges[-1]:,}" for i in span]
        axes.bar(labels, [counts[i] for i in span], color=BLUE, width=0.95)
        axes.tick_params(axis="x", rotation=30)
    return _label(figure, title, xlabel, ylabel)


def text_lengths(texts: Sequence[str], title: str, ylabel: str) -> Figure:
    """Draw a histogram of how many characters the texts have, with doubling bins from 16 to 32,768."""
    edges = [2**power for power in range(4, 16)]
    bins = np.digitize([len(text) for text in texts], edges)
    return lengths(edges, np.bincount(bins, minlength=len(edges) + 1).tolist(), title, "characters", ylabel)


def similarities(pairs: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw how many pairs have which `similarity` (a cosine), in steps of 0.1 from 0.4."""
    edges = np.arange(4, 10) / 10
    labels = ["below 0.40", *(f"{low:.2f} to {low + 0.1:.2f}" for low in edges)]
    bins = np.digitize([pair["similarity"] for pair in pairs], edges)
    counts = np.bincount(bins, minlength=len(labels)).tolist()
    return bars(dict(zip(labels, counts, strict=True)), title, "pairs")


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
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.22 * grid.shape[0]), layout="constrained")
    axes.imshow(grid, cmap=ListedColormap([ORANGE, GREEN, GREY, "white"]), vmin=0, vmax=3, aspect="auto")
    axes.set_yticks(range(grid.shape[0]), [str(seed) for seed in sorted(some["seed"].unique())])
    for name, colour in (("right", GREEN), ("wrong", ORANGE), ("undecided", GREY)):
        axes.plot([], [], "s", color=colour, label=name)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return _label(figure, title, f"{len(ids)} problems, in order", "seed")


def pass_rates(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw how many problems have which share of right solutions, one colour per table of verdicts (at most three)."""
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    shares = _possible_shares(max((table["seed"].nunique() for table in tables.values()), default=1))
    width = 0.9 * shares[1] / len(tables)
    for place, (name, verdicts) in enumerate(tables.items()):
        rates = verdicts["correct"].fillna(False).astype(float).groupby(verdicts["id"]).mean()
        axes.bar(
            shares + (place - (len(tables) - 1) / 2) * width,
            _count_nearest(rates, shares),
            width,
            label=label(name),
            color=(GREY, BLUE, GREEN)[-len(tables) :][place],
        )
    if len(tables) > 1:
        axes.legend(frameon=False)
    _set_share_ticks(axes, shares)
    return _label(figure, title, "share of a problem's solutions that are right", "problems")


def agreement(labels: pd.DataFrame, title: str, by: str, names: Mapping[Any, str]) -> Figure:
    """Draw the agreement of the votes: the share of the seeds that gave the label, or the majority's answer.

    labels: columns seeds, votes, agreement and `by`; names: value of `by` -> its words in the legend.
    """
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    voted = labels[labels["votes"] > 0]
    shares = _possible_shares(max(voted["seeds"], default=1))
    below = np.zeros(len(shares))
    for (value, name), colour in zip(names.items(), (GREY, ORANGE, BLUE), strict=False):
        counts = _count_nearest(voted.loc[voted[by] == value, "agreement"], shares)
        axes.bar(shares, counts, 0.9 * shares[1], below, color=colour, label=label(name))
        below += counts
    axes.legend(frameon=False)
    _set_share_ticks(axes, shares)
    return _label(figure, title, "votes / seeds", "problems")


def calibration(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw how often a majority of each size is right.

    rows: as in the manifest of relabeling: votes, seeds, problems, matched (share whose reference agrees), right
    (estimate). The size of a dot follows the number of problems.
    """
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    table = pd.DataFrame(rows, columns=["seeds", "votes", "problems", "matched", "right"]).astype(float)
    table["share"] = table["votes"] / table["seeds"].clip(lower=1)
    table = table.sort_values("share")
    axes.scatter(
        table["share"], table["matched"], 20 + 4 * table["problems"].clip(upper=100), GREY, label="reference agrees"
    )
    axes.plot(table["share"], table["right"], "o-", color=BLUE, label="right (estimate)")
    axes.set_xlim(0, 1.05)
    axes.set_ylim(-0.05, 1.05)
    axes.legend(frameon=False, loc="lower right")
    return _label(figure, title, "votes of the largest group / seeds", "share of its problems")


def grouped(table: pd.DataFrame, title: str, ylabel: str) -> Figure:
    """Draw the bars of a small table: the first 20 of its index along x, one colour per column."""
    table = table.head(MAX_NAMES).rename(index=label, columns=label)
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    table.plot.bar(ax=axes, color=[GREY, BLUE, GREEN, ORANGE][: table.shape[1]], rot=0, legend=table.shape[1] > 1)
    return _label(figure, title, str(table.index.name or ""), ylabel)


def save(figure: Figure, path: Path | str) -> Figure:
    """Write the figure as PNG and return it, so that the notebook's cell shows it too."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return figure


def _possible_shares(total: int) -> np.ndarray:
    """Return the shares that `total` votes or solutions can have, 0 to 1; in tenths for more than ten."""
    parts = max(1, min(int(total), 10))
    return np.arange(parts + 1) / parts


def _count_nearest(values: pd.Series, shares: np.ndarray) -> np.ndarray:
    """Count the values nearest to each share."""
    return np.bincount((values.to_numpy(float) * (len(shares) - 1) + 0.5).astype(int), minlength=len(shares))


def _set_share_ticks(axes: Axes, shares: np.ndarray) -> None:
    axes.set_xticks(shares, [f"{share:.2g}" for share in shares])
    _use_integer_ticks(axes.yaxis)


def _use_integer_ticks(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))


def _label(figure: Figure, title: str, xlabel: str, ylabel: str) -> Figure:
    axes = figure.axes[0]
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    plt.close(figure)  # otherwise a notebook shows the returned figure twice
    return figure
