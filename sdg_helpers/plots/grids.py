"""A grid of two properties of problems, coloured by a share."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sdg_helpers.plots.labels import MAX_NAMES, label
from sdg_helpers.plots.style import INK, WIDTH, headline

_DARK = 0.5  # above it, numbers are written in white


def grid(problems: pd.DataFrame, rows: str, columns: str, share: str, title: str) -> Figure:
    """Draw the mean of a share (0 to 1) for each pair of values of two columns, with the number of problems.

    problems: one row each. Of more than 20 values, those with the most problems are drawn.
    """
    kept = problems[problems[rows].isin(problems[rows].value_counts().index[:MAX_NAMES])]
    kept = kept[kept[columns].isin(kept[columns].value_counts().index[:MAX_NAMES])]
    means = kept.pivot_table(index=rows, columns=columns, values=share, aggfunc="mean")
    sizes = kept.pivot_table(index=rows, columns=columns, values=share, aggfunc="size").reindex_like(means)
    figure, axes = plt.subplots(figsize=(WIDTH, 1.4 + 0.34 * max(len(means), 1)), layout="constrained")
    finding = ""
    if means.size:
        axes.imshow(means.to_numpy(), cmap="cividis_r", vmin=0, vmax=1, aspect="auto")
        axes.set_yticks(range(len(means)), [label(name) for name in means.index])
        axes.set_xticks(range(means.shape[1]), [label(name) for name in means.columns])
        for y, x in zip(*means.notna().to_numpy().nonzero(), strict=True):
            value = means.iat[y, x]
            colour = "white" if value > _DARK else INK
            text = f"{value:.0%} of {int(sizes.iat[y, x]):,}"
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color=colour)
        lowest = means.stack().idxmin()
        finding = f"Lowest: {lowest[0]}, {lowest[1]} ({means.stack().min():.0%}); all problems {kept[share].mean():.0%}"
    return headline(figure, finding, title, columns, rows)
