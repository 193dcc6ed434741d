"""One look for all figures: colours, headlines, ticks, and files."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sdg_helpers.plots.labels import escape

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"  # distinguishable for colour-blind readers
INK, PALE_INK = "#222222", "#666666"
WIDTH = 7.0  # inches; a phone shows it whole
_HEADLINE = 78  # characters of a line


def headline(figure: Figure, finding: str, title: str, xlabel: str, ylabel: str) -> Figure:
    """Write what was found above a figure, below it in grey what is shown; label the axes. Without a finding the title
    is the headline."""
    axes = figure.axes[0]
    if finding:
        said = textwrap.fill(escape(finding), _HEADLINE)
        axes.set_title(escape(title), loc="left", fontsize=9, color=PALE_INK)
        figure.suptitle(said, x=0.01, ha="left", fontsize=12, color=INK)
    else:
        axes.set_title(escape(title), loc="left", fontsize=12, color=INK)
    axes.set_xlabel(xlabel, color=PALE_INK)
    axes.set_ylabel(ylabel, color=PALE_INK)
    axes.tick_params(colors=PALE_INK, labelcolor=INK, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side not in ("top", "right"))
        spine.set_color(GREY)
    axes.set_axisbelow(True)
    plt.close(figure)  # otherwise a notebook shows the returned figure twice
    return figure


def legend(figure: Figure) -> None:
    """Name the colours below the axes, where nothing is drawn."""
    figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)


def use_integer_ticks(axis: Axis) -> None:
    """Let an axis of counts show no fractions."""
    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))


def save(figure: Figure, path: Path | str) -> Figure:
    """Write the figure as PNG, and beside it as SVG; return it, so that the notebook's cell shows it too."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return figure
