"""Keep a stage's servers between the rounds of adaptive sampling, so that no round waits for Slurm and for weights.

    jobs/kept/DRIVER.COUNT    COUNT grows while the driver lives and may have another round (leases/heartbeats.py)
    jobs/busy/JOB             JOB works on blocks, or still writes; a job without it waits for work

A server without work waits while its driver beats, but no longer than `keep_idle_min` of its jobs.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sdg_helpers.cluster import slurm, this_job
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.errors import SdgError
from sdg_helpers.leases.heartbeats import EXPIRY_S, Heartbeat, Observer
from sdg_helpers.leases.lease_folder import LeaseFolder

_LOOK_S = 1.0  # between two looks of a waiting job
_kept: dict[Path, Heartbeat] | None = None  # by stage; None outside `keep_servers`


# --- in the driver


@contextmanager
def keep_servers() -> Iterator[None]:
    """While the body runs, servers of its stages wait for more work instead of ending; then they are let go."""
    global _kept
    _kept = {}
    try:
        yield
    finally:
        for stage, heartbeat in _kept.items():
            heartbeat.stop()
            heartbeat.join()
            _cancel_pending(stage)
        _kept = None


def keep(stage: Path) -> bool:
    """Keep the servers of this stage, if the driver is to keep any; return whether it does."""
    if _kept is None:
        return False
    if stage not in _kept:
        folder, driver = stage / "jobs" / "kept", f"driver-{secrets.token_hex(4)}"
        folder.mkdir(parents=True, exist_ok=True)
        _kept[stage] = Heartbeat(folder, driver, lambda: _remove_others(folder, driver))
        _kept[stage].start()
    return True


def _remove_others(folder: Path, driver: str) -> None:
    """Remove the beats of drivers that were killed: a stage has one driver."""
    for beat in folder.iterdir():
        if not beat.name.startswith(f"{driver}."):
            beat.unlink(missing_ok=True)


def busy_jobs(stage: Path, live: list[SlurmJob]) -> set[str]:
    """Return which of the live jobs work, or may still write."""
    with suppress(FileNotFoundError):
        return {job.job_id for job in live if job.state != "PENDING"} & set(os.listdir(stage / "jobs" / "busy"))
    return set()


def _cancel_pending(stage: Path) -> None:
    """Cancel the jobs that have not started: they would find nothing to do."""
    with suppress(SdgError):
        jobs = slurm.list_jobs(JobRecords(stage).names)
        slurm.cancel([job.job_id for job in jobs if job.state == "PENDING"])


# --- in a job


@contextmanager
def busy(stage: Path) -> Iterator[None]:
    """Mark this job as busy while the body runs."""
    mark = _mark(stage)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def not_busy(stage: Path) -> None:
    """Remove the mark that this job left when it was killed before a restart."""
    _mark(stage).unlink(missing_ok=True)


def _mark(stage: Path) -> Path:
    return stage / "jobs" / "busy" / this_job.job_name()


def wait_for_work(stage: Path, leases: LeaseFolder, idle_s: float) -> bool:
    """Wait for a block; return False when the driver has let the servers go, or has died, or after idle_s."""
    job, observer = this_job.job_name(), Observer(stage / "jobs" / "kept", EXPIRY_S)
    until = time.monotonic() + idle_s
    while time.monotonic() < until and not leases.is_draining(job) and _has_driver(stage, observer):
        time.sleep(_LOOK_S)  # at first, too: an old listing may show a block that others have taken
        if leases.has_work(job):
            return True
    return False


def _has_driver(stage: Path, observer: Observer) -> bool:
    with suppress(FileNotFoundError):
        drivers = {name.rpartition(".")[0] for name in os.listdir(stage / "jobs" / "kept")}
        return bool(drivers - observer.look(drivers))
    return False
