"""Figures of the notebooks: each takes a table or a manifest and returns a matplotlib Figure; nothing is shown here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from sdg_helpers.formatting import format_number

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"  # safe for colour-blind eyes
WRONG, RIGHT, UNDECIDED, ABSENT = 0, 1, 2, 3


def bars(counts: Mapping[str, float], title: str, xlabel: str = "", colour: str = BLUE) -> Figure:
    """Horizontal bars in the given order, each with its value: a funnel, drops by reason, tiers."""
    figure, axes = plt.subplots(figsize=(7, 0.7 + 0.38 * max(len(counts), 1)), layout="constrained")
    names, values = list(counts), [float(value) for value in counts.values()]
    axes.barh(names, values, color=colour)
    axes.bar_label(axes.containers[0], labels=[f" {format_number(value)}" for value in values], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.xaxis.get_major_locator().set_params(integer=all(value.is_integer() for value in values))
    return _finish(figure, title, xlabel, "")


def lengths(
    edges: Sequence[int], counts: Sequence[int], title: str, xlabel: str = "generated tokens", ylabel: str = "solutions"
) -> Figure:
    """A histogram with doubling bins: counts[i] values lie in [edges[i-1], edges[i])."""
    counts = np.asarray(counts)
    used = np.flatnonzero(counts)
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    if len(used):
        span = range(used[0], used[-1] + 1)
        labels = [f"<{edges[i]:,}" if i < len(edges) else f"≥{edges[-1]:,}" for i in span]
        axes.bar(labels, counts[list(span)], color=BLUE, width=0.95)
        axes.tick_params(axis="x", rotation=30)
    return _finish(figure, title, xlabel, ylabel)


def verdict_grid(verdicts: pd.DataFrame, title: str, max_problems: int = 60) -> Figure:
    """Problems (columns) × seeds (rows): right, wrong, undecided. The first `max_problems` in order of the table."""
    ids = verdicts["id"].drop_duplicates().head(max_problems)
    some = verdicts[verdicts["id"].isin(ids)]
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
    return _finish(figure, title, f"{len(ids)} problems, in order", "seed")


def pass_rates(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """How many problems have which share of right solutions; one colour per table of verdicts (before and after)."""
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    shares = _shares(max((table["seed"].nunique() for table in tables.values()), default=1))
    width = 0.9 * shares[1] / len(tables)
    for place, (name, verdicts) in enumerate(tables.items()):
        rates = verdicts["correct"].fillna(False).astype(float).groupby(verdicts["id"]).mean()
        axes.bar(
            shares + (place - (len(tables) - 1) / 2) * width,
            _nearest(rates, shares),
            width,
            label=name,
            color=(GREY, BLUE, GREEN)[-len(tables) :][place],
        )
    if len(tables) > 1:
        axes.legend(frameon=False)
    _share_axes(axes, shares)
    return _finish(figure, title, "share of a problem's solutions that are right", "problems")


def agreement(labels: pd.DataFrame, title: str, names: Sequence[str] = ("answer kept", "answer repaired")) -> Figure:
    """Agreement of the votes (share of the winning answer), for relabeled problems and for the rest; names: of the
    rest, and of those with `relabeled`."""
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    voted = labels[labels["total"] > 0]
    shares, below = _shares(max(voted["total"], default=1)), 0
    for name, colour, relabeled in zip(names, (GREY, ORANGE), (False, True), strict=True):
        counts = _nearest(voted.loc[voted["relabeled"] == relabeled, "agreement"], shares)
        axes.bar(shares, counts, 0.9 * shares[1], below, color=colour, label=name)
        below += counts
    axes.legend(frameon=False)
    _share_axes(axes, shares)
    return _finish(figure, title, "votes for the winner / all votes", "problems")


def grouped(table: pd.DataFrame, title: str, ylabel: str) -> Figure:
    """Bars of a small table: its index along x, one colour per column."""
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    table.plot.bar(ax=axes, color=[GREY, BLUE, GREEN, ORANGE][: table.shape[1]], rot=0, legend=table.shape[1] > 1)
    return _finish(figure, title, table.index.name or "", ylabel)


def save(figure: Figure, path: Path | str) -> Figure:
    """Write the figure as PNG and give it back, so that the cell shows it too."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return figure


def _shares(of: int) -> np.ndarray:
    """The shares that so many can have, 0 to 1; tenths where there are more than ten."""
    parts = max(1, min(int(of), 10))
    return np.arange(parts + 1) / parts


def _nearest(values: pd.Series, shares: np.ndarray) -> np.ndarray:
    """How many values lie nearest to each share."""
    return np.bincount((values.to_numpy(float) * (len(shares) - 1) + 0.5).astype(int), minlength=len(shares))


def _share_axes(axes: Axes, shares: np.ndarray) -> None:
    axes.set_xticks(shares, [f"{share:.2g}" for share in shares])
    axes.yaxis.get_major_locator().set_params(integer=True)


def _finish(figure: Figure, title: str, xlabel: str, ylabel: str) -> Figure:
    axes = figure.axes[0]
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    plt.close(figure)  # a notebook shows the returned figure once, not twice
    return figure
