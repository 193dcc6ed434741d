"""The commands of `sdg` that have to do with a cluster: cancel, cluster check."""
from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from .errors import SdgError

Add = Callable[..., argparse.ArgumentParser]


def add_commands(commands: argparse._SubParsersAction, add: Add) -> None:
    """Add them to the parser; `add` makes one command."""
    cancel = add(commands, "cancel", _cancel, "cancel a run's jobs on the cluster, and keep its data")
    cancel.add_argument("run", metavar="RUN")
    check = add(commands, "cluster", _check, "see whether a cluster has all that a profile asks for")
    check.add_argument("action", choices=["check"])
    check.add_argument("--profile", metavar="P", default="slurm")
    check.add_argument("--wait", metavar="MINUTES", type=float, default=10.0,
                       help="how long the small jobs that look at a node may wait to begin (default: 10)")


def stages_with_jobs(run: Path) -> list[Path]:
    """The folders of a run that have submitted jobs; the driver's comes first."""
    found = [path.parent.parent for path in sorted(run.rglob("jobs/jobs.jsonl"))]
    return sorted(found, key=lambda stage: stage.name != "driver")


def _cancel(arguments: argparse.Namespace) -> None:
    from . import cluster, runs

    folder = runs.existing_run(arguments.run)
    cancelled = [(stage, job) for stage in stages_with_jobs(folder) for job in cluster.cancel_jobs(stage)]
    for stage, job in cancelled:
        print(f"  cancelled {job.job_id} ({job.state.lower()}) of {stage.relative_to(folder)}")
    print(f"{len(cancelled)} jobs cancelled; what was written is kept.")


def _check(arguments: argparse.Namespace) -> int:
    from .cluster_check import check_cluster
    from .profiles import load_profile

    rows = check_cluster(load_profile(arguments.profile), arguments.wait)
    for row in rows:
        print(f"  {row['ok']:<4}{row['what']}\n      {row['found']}")
        if row["what to do"]:
            print(f"      → {row['what to do']}")
    bad = sum(row["ok"] == "no" for row in rows)
    if bad:
        raise SdgError(f"{bad} of {len(rows)} checks are not met; nothing else was submitted.")
    print(f"All {len(rows)} checks are met.")
    return 0
