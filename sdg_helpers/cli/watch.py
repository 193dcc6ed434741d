"""`sdg watch` and `drain`: look at a run's servers one by one, and take one out."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import print_json, program_name
from sdg_helpers.errors import SdgError

_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def add_commands(add: Add) -> None:
    """Add watch and drain."""
    watch = add("watch", _watch, "show a run's servers one by one, with rates, troubles and ETA")
    watch.add_argument("run", metavar="RUN")
    watch.add_argument("--json", action="store_true", help="print JSON, once")
    watch.add_argument("--once", action="store_true", help="print once, as when the output is no terminal")
    watch.add_argument("--every", metavar="S", type=float, default=5.0, help="seconds between two looks (default: 5)")
    drain = add("drain", _drain, "let one server of a run finish what it has begun, and end")
    drain.add_argument("run", metavar="RUN")
    drain.add_argument("server", metavar="SERVER", type=int, help="its number, as `sdg watch` shows it")


def _watch(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.watching.run_view import view_run

    folder = runs.existing_run(arguments.run)
    if arguments.json:
        return print_json(view_run(folder).as_dict())
    if arguments.once or not sys.stdout.isatty():
        return print("\n".join(_lines(folder)[0]))
    sys.stdout.write(_HOME + _CLEAR_BELOW)
    while True:
        lines, over = _lines(folder)
        text = "".join(f"{line}{_CLEAR_LINE}\n" for line in [time.strftime("%H:%M:%S"), *lines])
        sys.stdout.write(_HOME + text + _CLEAR_BELOW)
        sys.stdout.flush()
        if over:
            return None
        time.sleep(max(0.5, arguments.every))


def _lines(folder: Path) -> tuple[list[str], bool]:
    """Return what to show, and whether nothing is at work any more."""
    from sdg_helpers.watching.run_view import view_run
    from sdg_helpers.watching.text import history_lines, stage_lines

    view = view_run(folder)
    drain = f"{program_name()} drain {folder.name}"
    if view.stages:
        return [line for stage in view.stages for line in stage_lines(stage, drain)], False
    if view.history:
        return [line for name, sessions in view.history.items() for line in history_lines(name, sessions)], True
    return [f"no stage of {folder.name} asks a model now: {program_name()} status {folder.name}"], True


def _drain(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.cli.run_folders import stages_with_jobs
    from sdg_helpers.cluster import scaling

    folder = runs.existing_run(arguments.run)
    stages = [stage for stage in stages_with_jobs(folder) if scaling.can_scale(stage)]
    if not stages:
        raise SdgError(f"{arguments.run}: no stage of this run is shared by servers now, so there is none to drain.")
    for stage in stages:
        job = scaling.drain_server(stage, arguments.server)
        print(
            f"{stage.relative_to(folder)}: server {arguments.server} (job {job.job_id}) takes no more work, and ends."
        )
    print(f"To have another one in its place, add one: {program_name()} scale {arguments.run} N")
