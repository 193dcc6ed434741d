"""A stage at work, as it is at this moment: rows, blocks, servers, and when it will be done."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.completions.sessions import live_totals, read_sessions
from sdg_helpers.errors import SdgError
from sdg_helpers.leases.lease_folder import leases_of
from sdg_helpers.watching.estimates import time_left
from sdg_helpers.watching.job_files import JobFiles
from sdg_helpers.watching.server_lines import ServerLine, lines_of


@dataclass(frozen=True)
class StageView:
    """blocks: how many are free, taken and done; None when the stage has none. note: what is not known, and why."""

    stage: str
    done: int
    total: int | None
    failed: int
    tokens_per_s: float
    servers: list[ServerLine]
    blocks: dict[str, int] | None = None
    eta_s: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def view_stage(stage: Path, ask_slurm: bool = True) -> StageView:
    """Look at a stage's folder. ask_slurm: for its jobs, if it has any; False: as its driver saw them last."""
    listed, note = _listed_jobs(stage) if ask_slurm else (None, "")
    if excluded := JobRecords(stage).excluded:
        note = "; ".join(filter(None, [note, f"left out, as jobs fail there at once: {', '.join(excluded)}"]))
    progress = files.read_json(stage / "progress.json") or {}
    sessions, job_files = read_sessions(stage / "partial"), JobFiles(stage, listed)
    done, total = rows_done(progress, sessions), progress.get("total")
    servers = lines_of(job_files, sessions)
    return StageView(
        f"{stage.parent.name}/{stage.name}",
        done,
        total,
        live_totals(sessions)["failed"],
        sum(server.tokens_per_s for server in servers),
        servers,
        count_blocks(stage),
        estimate(stage, total - done, servers) if total is not None else None,
        note,
    )


def rows_done(progress: Mapping[str, Any], sessions: Sequence[Mapping[str, Any]]) -> int:
    """Return the rows that are done: those on disk when the driver looked last, and what sessions have added since."""
    if "base" not in progress:
        return progress.get("done", 0)
    return min(progress["base"] + live_totals(sessions)["rows"], progress["total"])


def estimate(stage: Path, rows_left: int, servers: Iterable[ServerLine]) -> float | None:
    """Return the seconds until a stage's rows are done; None while that is not known."""
    if rows_left <= 0:
        return 0.0
    lines = list(servers)
    loads = [line.load_s for line in lines if line.load_s is not None]
    leases = leases_of(stage)
    if not leases.free() and leases.taken():  # all is held: more exact than what killed sessions have counted
        rows_left = min(rows_left, sum(max(line.open_rows or 0, line.in_flight) for line in lines))
    return time_left(rows_left, [line.worker for line in lines], statistics.median(loads) if loads else None)


def count_blocks(stage: Path) -> dict[str, int] | None:
    """Return how many of a stage's blocks are free, taken and done; None when it has none."""
    leases = leases_of(stage)
    counts = {"free": len(leases.free()), "taken": len(leases.taken()), "done": leases.done()}
    return counts if any(counts.values()) else None


def _listed_jobs(stage: Path) -> tuple[list[SlurmJob] | None, str]:
    """Return a stage's jobs as Slurm lists them, or None and why they cannot be listed."""
    names = JobRecords(stage).names
    if not names:
        return None, ""
    try:
        return slurm.list_jobs(names), ""
    except SdgError as error:
        return None, f"Slurm cannot be asked ({error}): states as the driver saw them last"
