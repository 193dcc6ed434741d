"""`sdg report`: one page about a run, or about two, to read or to send."""

from __future__ import annotations

import argparse

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import display_path
from sdg_helpers.formatting import format_size


def add_commands(add: Add) -> None:
    """Add report."""
    report = add(
        "report", _report, "write one HTML page about a run: counts, cost, figures, samples; or compare two runs"
    )
    report.add_argument("run", metavar="RUN")
    report.add_argument("other", nargs="?", metavar="OTHER", help="a second run: what differs, and what that did")
    report.add_argument("--track", default="math", choices=["math", "science", "code"], help="default: math")


def _report(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.reports import write_report

    other = runs.existing_run(arguments.other) if arguments.other else None
    path = write_report(runs.existing_run(arguments.run), arguments.track, other)
    print(f"{display_path(path)}  ({format_size(path.stat().st_size)})")
