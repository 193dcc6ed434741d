"""Bars: counts by name, a stage's rows from first to last, and small tables."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sdg_helpers.formatting import format_number
from sdg_helpers.plots.labels import MAX_NAMES, label, merge_small
from sdg_helpers.plots.style import BLUE, GREEN, GREY, INK, ORANGE, WIDTH, headline, legend, use_integer_ticks

_MAX_REASONS = MAX_NAMES - 4


def bars(counts: Mapping[str, float], title: str, xlabel: str = "", finding: str = "") -> Figure:
    """Draw horizontal bars in the given order, each with its value; of more than 20, the largest and their rest."""
    return _bars(merge_small(counts), finding, title, xlabel)


def shares(counts: Mapping[str, float], title: str, unit: str) -> Figure:
    """Draw the parts of a whole as bars, and say which part is the largest. unit: of the values, "rows" or "GB"."""
    total, largest = sum(counts.values()), max(counts, key=lambda name: counts[name], default="")
    finding = ""
    if total:
        value, whole = format_number(counts[largest]), format_number(total)
        finding = f"The largest part: {label(largest)}, {value} of {whole} {unit} ({counts[largest] / total:.0%})"
    return bars(counts, title, unit, finding)


def funnel(
    manifest: Mapping[str, Any], title: str, rows_in: str, rows_out: str, more: Mapping[str, float] | None = None
) -> Figure:
    """Draw a stage's counts: rows in, rows dropped for each reason, rows out.

    rows_in, rows_out: what the rows are, for example "solutions" and "programs"; more: further bars below them.
    """
    counts = manifest["counts"]
    dropped = {f"dropped: {name}": count for name, count in merge_small(counts["dropped"], _MAX_REASONS)}
    shown = {rows_in: counts["rows_in"], **dropped, rows_out: counts["rows_out"], **(more or {})}
    return _bars(list(shown.items()), _explain_losses(counts, rows_in, rows_out), title, orange=dropped)


def grouped(table: pd.DataFrame, title: str, ylabel: str, finding: str = "") -> Figure:
    """Draw the bars of a small table: the first 20 of its index along x, one colour per column."""
    table = table.head(MAX_NAMES).rename(index=label, columns=label)
    figure, axes = plt.subplots(figsize=(WIDTH, 2.8), layout="constrained")
    table.plot.bar(ax=axes, color=[GREY, BLUE, GREEN, ORANGE][: table.shape[1]], rot=0, legend=False)
    if table.shape[1] > 1:
        legend(figure)
    return headline(figure, finding, title, str(table.index.name or ""), ylabel)


def _bars(
    counts: Sequence[tuple[str, float]], finding: str, title: str, xlabel: str = "", orange: Container[str] = ()
) -> Figure:
    height = 0.7 + 0.38 * max(len(counts), 1) + 0.35 * bool(finding)
    figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    values, places = [float(value) for _, value in counts], range(len(counts))
    colours = [ORANGE if name in orange else BLUE for name, _ in counts]
    container = axes.barh(places, values, color=colours)
    axes.set_yticks(places, [label(name) for name, _ in counts])
    axes.bar_label(container, labels=[f" {format_number(value)}" for value in values], fontsize=9, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    if all(value.is_integer() for value in values):
        use_integer_ticks(axes.xaxis)
    return headline(figure, finding, title, xlabel, "")


def _explain_losses(counts: Mapping[str, Any], rows_in: str, rows_out: str) -> str:
    """Return how many rows are left, and the reason that cost most."""
    left = f"{counts['rows_in']:,} {rows_in} give {counts['rows_out']:,} {rows_out}"
    dropped = {name: count for name, count in counts["dropped"].items() if count}
    if not dropped:
        return left
    reason = max(dropped, key=lambda name: dropped[name])
    return f"{left}; most of the others: {reason.replace('_', ' ')} ({dropped[reason]:,})"
