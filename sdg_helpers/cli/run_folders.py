"""`sdg status`, `reset`, `cancel`: a run that is there."""

from __future__ import annotations

import argparse
from pathlib import Path

from sdg_helpers.cli.console import asked, display_path, print_table
from sdg_helpers.cli.main import Add
from sdg_helpers.errors import SdgError


def add_commands(add: Add) -> None:
    """status, reset, cancel"""
    status = add("status", _status, "how far a run is, stage by stage; without RUN a table of all runs")
    status.add_argument("run", nargs="?", metavar="RUN")
    status.add_argument("--json", action="store_true", help="for programs")
    reset = add("reset", _reset, "drop a stage's results and all that was made from them, after asking")
    reset.add_argument("run", metavar="RUN")
    reset.add_argument("stage", metavar="STAGE", help="math/solutions, or solutions")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    cancel = add("cancel", _cancel, "cancel a run's jobs on the cluster, and keep its data")
    cancel.add_argument("run", metavar="RUN")


def _status(arguments: argparse.Namespace) -> None:
    from sdg_helpers import paths, runs
    from sdg_helpers.runs import status

    rows = (
        [vars(one) for one in status.run_status(runs.existing_run(arguments.run))]
        if arguments.run
        else status.runs_table()
    )
    if arguments.json:
        import json

        print(json.dumps(rows, indent=2, default=str))
    elif arguments.run:
        print_table([[f"{row['track']}/{row['stage']}", row["state"], row["detail"]] for row in rows])
    else:
        print_table([list(row.values()) for row in rows] or [[f"no runs in {display_path(paths.outputs_root())}"]])


def _reset(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.locks import Lock
    from sdg_helpers.runs import reset

    folder = runs.existing_run(arguments.run)
    track, info = reset.find_stage(arguments.stage, folder)
    dropped = reset.downstream(track, info.name)
    there = [one for one in dropped if (folder / track / one.name).is_dir()]
    if not there:
        print(f"{track}/{info.name} of run {arguments.run} has not begun: nothing to drop.")
        return
    with Lock(folder / ".lock", f"run {arguments.run!r}"):
        reset.refuse_live_jobs(folder, track, dropped)  # before anybody is asked
        for one in there:
            print(f"  {display_path(folder / track / one.name)}  {reset.megabytes(folder / track / one.name):,.1f} MB")
        if not arguments.yes and not asked("Drop these results? They cannot be brought back. Type yes: "):
            raise SdgError("nothing was dropped.")
        reset.reset_stages(folder, track, dropped)
    print(f"Dropped. To make them anew, run from notebook {info.notebook}.")


def _cancel(arguments: argparse.Namespace) -> None:
    from sdg_helpers import cluster, runs

    folder = runs.existing_run(arguments.run)
    cancelled = [(stage, job) for stage in _stages_with_jobs(folder) for job in cluster.cancel_jobs(stage)]
    for stage, job in cancelled:
        print(f"  cancelled {job.job_id} ({job.state.lower()}) of {stage.relative_to(folder)}")
    print(f"{len(cancelled)} jobs cancelled; what was written is kept.")


def _stages_with_jobs(run: Path) -> list[Path]:
    """The folders of a run that have submitted jobs; the driver's comes first."""
    found = [path.parent.parent for path in sorted(run.rglob("jobs/jobs.jsonl"))]
    return sorted(found, key=lambda stage: stage.name != "driver")
