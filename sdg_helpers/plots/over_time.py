"""How fast a stage worked over time, and how full its servers were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sdg_helpers.formatting import format_duration, format_number
from sdg_helpers.plots.style import BLUE, GREEN, ORANGE, PALE_INK, WIDTH, headline, use_integer_ticks

_UNITS = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))
_QUIET = 0.05  # requests in flight, on average: none


def speed(timeline: Mapping[str, Any], title: str) -> Figure:
    """Draw tokens per second and, below, requests in flight over time; a line marks every later start of a session.

    Tokens count when their reply is complete, so slow servers with few requests show peaks.

    timeline: as in the requests of a stage's manifest (see completions.timeline); {} draws an empty figure.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 3.6), sharex=True, layout="constrained")
    finding, unit = "No time was recorded", "time"
    if timeline:
        tokens, step = np.array(timeline["tokens_per_s"], float), float(timeline["step_s"])
        size, unit = next((size, name) for least, size, name in _UNITS if len(tokens) * step >= least)
        edges = np.arange(len(tokens) + 1) * step / size
        above.stairs(tokens, edges, fill=True, color=BLUE, alpha=0.8)
        below.stairs(timeline["in_flight"], edges, fill=True, color=GREEN, alpha=0.8)
        restarts = [start for start in timeline["starts"] if start > step]
        for axes in (above, below):
            axes.vlines(np.array(restarts) / size, 0, 1, ORANGE, "dotted", transform=axes.get_xaxis_transform())
        finding = _explain(tokens, np.array(timeline["in_flight"], float) > _QUIET, step, restarts)
    below.set_ylabel("in flight", color=PALE_INK)
    below.set_xlabel(f"{unit} since the start", color=PALE_INK)
    below.spines[["top", "right"]].set_visible(False)
    below.tick_params(colors=PALE_INK, labelsize=9)
    use_integer_ticks(below.yaxis)
    return headline(figure, finding, title, "", "tokens / s")


def _explain(tokens: np.ndarray, busy: np.ndarray, step: float, restarts: list[float]) -> str:
    """Return the speed while requests were in flight, how long none was, and how often it was started again."""
    if not tokens.any():
        return "No token yet"
    idle = float((~busy).sum() * step)
    quiet = f", idle for {format_duration(idle)}" if idle >= max(10 * step, 60) else ""
    again = f"; started again {len(restarts)}× (dotted)" if restarts else ""
    return f"{format_number(float(tokens.sum() / max(busy.sum(), 1)))} tokens/s while working{quiet}{again}"
