"""The figures of a report: hours by stage, the speed over time, and those that the track's notebooks drew.

The first two are of an unfinished run, too.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdg_helpers.completions.sessions import timeline
from sdg_helpers.runs.run import Track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_BYTES = 5 << 20  # of all figures together, so that the page stays below 10 MB


def collect_figures(folder: Path, track: str) -> list[tuple[str, str]]:
    """Return (name, data URI) of a track's figures, the notebooks' in their order, as far as there is room."""
    from sdg_helpers import planning, plots

    paths = sorted((folder / "figures").glob("*.png"))
    found = {path.stem: path.read_bytes() for path in paths if _is_of(path.stem, track)}
    if not any(name.endswith("-speed") for name in found) and (points := _timeline(Track(folder / track, track))):
        found = {"speed so far": _png(plots.speed(points, "Speed of the solver")), **found}
    unit, hours = planning.held_hours(planning.measure_run(folder, track))
    if hours:
        found = {f"measured {unit}": _png(plots.shares(hours, f"Measured {unit} by stage", unit)), **found}
    kept, size = [], 0
    for name, data in found.items():
        size += len(data)
        if size <= _MAX_BYTES:
            kept.append((name, f"data:image/png;base64,{base64.b64encode(data).decode()}"))
    return kept


def _is_of(name: str, track: str) -> bool:
    """Return whether a figure is of this track; those of math have no track in their name."""
    return name[:1].isdigit() if track == "math" else name.startswith(f"{track}-")


def _timeline(track: Track) -> dict[str, Any]:
    manifest = track.stage("solutions").manifest
    if manifest is None:
        return timeline(track.solutions / "partial")
    return (manifest.get("requests") or {}).get("timeline", {})


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()
