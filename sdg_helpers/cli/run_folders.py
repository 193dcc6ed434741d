"""`sdg status`, `reset`, `cancel` and `scale`: commands about an existing run."""

from __future__ import annotations

import argparse
from pathlib import Path

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import confirm, display_path, print_json, print_table
from sdg_helpers.errors import SdgError


def add_commands(add: Add) -> None:
    """Add status, reset, cancel and scale."""
    status = add("status", _status, "show the progress of a run by stage; without RUN, list all runs")
    status.add_argument("run", nargs="?", metavar="RUN")
    status.add_argument("--json", action="store_true", help="print JSON")
    reset = add("reset", _reset, "delete a stage's results and everything made from them, after confirmation")
    reset.add_argument("run", metavar="RUN")
    reset.add_argument("stage", metavar="STAGE", help="math/solutions, or solutions")
    reset.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    cancel = add("cancel", _cancel, "cancel a run's jobs on the cluster; its data is kept")
    cancel.add_argument("run", metavar="RUN")
    scale = add("scale", _scale, "set how many servers generate solutions, also while they do")
    scale.add_argument("run", metavar="RUN")
    scale.add_argument("servers", metavar="N", type=int)


def _status(arguments: argparse.Namespace) -> None:
    from sdg_helpers import paths, runs
    from sdg_helpers.budgets.reports import status_lines
    from sdg_helpers.planning.stored import planned_lines
    from sdg_helpers.runs import status

    rows = (
        [vars(one) for one in status.run_status(runs.existing_run(arguments.run))]
        if arguments.run
        else status.runs_table()
    )
    if arguments.json:
        print_json(rows)
    elif arguments.run:
        print_table([[f"{row['track']}/{row['stage']}", row["state"], row["detail"]] for row in rows])
        folder = runs.existing_run(arguments.run)
        for line in (*status_lines(folder), *planned_lines(folder)):
            print(line)
    else:
        print_table([list(row.values()) for row in rows] or [[f"no runs in {display_path(paths.outputs_root())}"]])


def _reset(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.locks import Lock
    from sdg_helpers.runs import reset

    folder = runs.existing_run(arguments.run)
    track, info = reset.find_stage(arguments.stage, folder)
    affected = reset.downstream(track, info.name)
    existing = [one for one in affected if (folder / track / one.name).is_dir()]
    if not existing:
        print(f"{track}/{info.name} of run {arguments.run} has not begun: nothing to delete.")
        return
    with Lock(folder / ".lock", f"run {arguments.run!r}"):
        reset.refuse_live_jobs(folder, track, affected)  # before asking for confirmation
        for one in existing:
            stage = folder / track / one.name
            print(f"  {display_path(stage)}  {reset.megabytes(stage):,.1f} MB")
        if not arguments.yes and not confirm("Delete these results for good? Type yes: "):
            raise SdgError("nothing was deleted.")
        reset.reset_stages(folder, track, affected)
    print(f"Deleted. To make them again, run from notebook {info.notebook}.")


def _cancel(arguments: argparse.Namespace) -> None:
    from sdg_helpers import cluster, runs

    folder = runs.existing_run(arguments.run)
    cancelled = [(stage, job) for stage in stages_with_jobs(folder) for job in cluster.cancel_jobs(stage)]
    for stage, job in cancelled:
        print(f"  cancelled {job.job_id} ({job.state.lower()}) of {stage.relative_to(folder)}")
    print(f"{len(cancelled)} jobs cancelled; the data written so far is kept.")


def _scale(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.cluster import scaling

    folder = runs.existing_run(arguments.run)
    stages = [stage for stage in stages_with_jobs(folder) if scaling.can_scale(stage)]
    if not stages:
        raise SdgError(
            f"{arguments.run}: no stage of this run is shared by servers now, so there is nothing to scale. Set the "
            "key servers of jobs: in the profile before the run."
        )
    for stage in stages:
        scaling.set_servers(stage, arguments.servers)
        print(f"{stage.relative_to(folder)}: {arguments.servers} servers, from the driver's next look at its jobs on.")


def stages_with_jobs(run: Path) -> list[Path]:
    """The folders of a run that have submitted jobs, the driver's first."""
    found = [path.parent.parent for path in sorted(run.rglob("jobs/jobs.jsonl"))]
    return sorted(found, key=lambda stage: stage.name != "driver")
