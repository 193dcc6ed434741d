"""Histograms: lengths in tokens or characters, and similarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sdg_helpers.plots.counts import bars
from sdg_helpers.plots.style import BLUE, WIDTH, headline, use_integer_ticks

_ALIKE = 0.9  # cosine


def lengths(
    edges: Sequence[int],
    counts: Sequence[int],
    title: str,
    xlabel: str = "generated tokens",
    ylabel: str = "solutions",
    limit: int | None = None,
    num_cut: int = 0,
) -> Figure:
    """Draw a histogram with doubling bins: counts[i] values lie in [edges[i-1], edges[i]).

    limit: the longest possible value, and num_cut: how many were cut there.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.1), layout="constrained")
    used = np.flatnonzero(counts)
    if len(used):
        span = range(used[0], used[-1] + 1)
        labels = [f"<{edges[i]:,}" if i < len(edges) else f"≥{edges[-1]:,}" for i in span]
        axes.bar(labels, [counts[i] for i in span], color=BLUE, width=0.95)
        axes.tick_params(axis="x", rotation=30)
        use_integer_ticks(axes.yaxis)
    found = _explain_lengths(edges, counts, xlabel, ylabel)
    total = sum(counts)
    if limit is not None and total:
        found += f"; {num_cut:,} ({num_cut / total:.0%}) were cut at {limit:,}"
    return headline(figure, found, title, xlabel, ylabel)


def text_lengths(texts: Sequence[str], title: str, ylabel: str) -> Figure:
    """Draw a histogram of how many characters the texts have, with doubling bins from 16 to 32,768."""
    edges = [2**power for power in range(4, 16)]
    bins = np.digitize([len(text) for text in texts], edges)
    return lengths(edges, np.bincount(bins, minlength=len(edges) + 1).tolist(), title, "characters", ylabel)


def similarities(pairs: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw how many pairs have which `similarity` (a cosine), in steps of 0.1 from 0.4."""
    edges = np.arange(4, 10) / 10
    labels = ["below 0.40", *(f"{low:.2f} to {low + 0.1:.2f}" for low in edges)]
    values = [pair["similarity"] for pair in pairs]
    counts = np.bincount(np.digitize(values, edges), minlength=len(labels)).tolist()
    alike = sum(value >= _ALIKE for value in values)
    finding = f"{alike:,} of {len(values):,} pairs are nearly the same ({_ALIKE} or more)" if values else ""
    return bars(dict(zip(labels, counts, strict=True)), title, "pairs", finding)


def _explain_lengths(edges: Sequence[int], counts: Sequence[int], unit: str, things: str) -> str:
    """Return below which edge at least half of the values are."""
    total = sum(counts)
    if not total:
        return ""
    middle = int(np.searchsorted(np.cumsum(counts), total / 2))
    if middle >= len(edges):
        return f"Half of the {total:,} {things} have {edges[-1]:,} {unit} or more"
    share = sum(counts[: middle + 1]) / total
    return f"{share:.0%} of the {total:,} {things} have fewer than {edges[middle]:,} {unit}"
