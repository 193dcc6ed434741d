"""Write a report as one HTML file without scripts or links: it opens offline, and prints well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sdg_helpers import files, runs
from sdg_helpers.exact_json import replace_lone_surrogates
from sdg_helpers.formatting import format_number
from sdg_helpers.paths import PACKAGE
from sdg_helpers.reports.comparing import changed_counts, changed_settings
from sdg_helpers.reports.figures import collect_figures
from sdg_helpers.reports.gathering import gather
from sdg_helpers.reports.samples import draw_samples, require_track


def write_report(folder: Path, track: str, other: Path | None = None) -> Path:
    """Write RUN/report-TRACK.html, or RUN/report-TRACK-OTHER.html that compares two runs; return its path.

    Texts of models and downloads are escaped, and the page forbids itself to load anything.
    """
    facts = []
    for run in filter(None, (folder, other)):
        require_track(run.name, runs.Track(run / track, track))
        facts.append(gather(run, track))
    page = (
        _environment()
        .get_template("page.html")
        .render(
            runs=facts,
            settings=changed_settings(*facts) if len(facts) == 2 else [],
            counts=changed_counts(*facts) if len(facts) == 2 else [],
            figures=[] if other else collect_figures(folder, track),
            samples=[] if other else draw_samples(runs.Track(folder / track, track)),
            style=(PACKAGE / "data" / "report" / "style.css").read_text(),
        )
    )
    path = folder / (f"report-{track}-{other.name}.html" if other else f"report-{track}.html")
    with files.atomic_writer(path) as out:
        out.write(page.encode("utf-8", "replace"))
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PACKAGE / "data" / "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_plain,
    )
    environment.filters["number"] = _number
    return environment


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format_number(value) if isinstance(value, (int, float)) else value


def _plain(value: Any) -> Any:
    """Replace what no file could hold; leave the template's own HTML as it is."""
    return value if isinstance(value, Markup) else replace_lone_surrogates(value)
