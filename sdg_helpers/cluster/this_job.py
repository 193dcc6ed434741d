"""What a job knows about itself: its id, and that its time limit is near."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sdg_helpers.cluster.cluster_names import JOB_CLUSTER, on_cluster

STOP_BEFORE_LIMIT = "SDG_STOP_BEFORE_LIMIT_S"  # environment variable: seconds from SIGUSR2 to the time limit
_UNWIND_S = 30  # of these that work which does not end by itself needs to stop
_drain: Callable[[], None] | None = None
_drains = False


def job_name() -> str:
    """Return the id of this job, as in 123_4 or 123_4@dusk; outside Slurm, that of the process."""
    array, job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID")
    if not job:
        return str(os.getpid())
    return on_cluster(f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job, os.environ.get(JOB_CLUSTER))


def slurm_id() -> str:
    """Return the number that Slurm gives this job, which no other task of its array has; "" outside Slurm."""
    job = os.environ.get("SLURM_JOB_ID", "")
    return on_cluster(job, os.environ.get(JOB_CLUSTER)) if job else ""


def attempt_name() -> str:
    """Return JOB-RESTART, as in 123_4-0."""
    return f"{job_name()}-{os.environ.get('SLURM_RESTART_COUNT', 0)}"


@contextmanager
def stops_by(drain: Callable[[], None]) -> Iterator[None]:
    """While the body runs, it can be drained: after a call of `drain` it ends by itself when what it has begun is done.

    drain is called in a signal handler.
    """
    global _drain
    _drain = drain
    try:
        yield
    finally:
        _drain = None


def seconds_to_drain() -> float:
    """Return for how long work may go on after SIGUSR2; 0 when there is no time for that."""
    return max(0.0, float(os.environ.get(STOP_BEFORE_LIMIT, 0)) - _UNWIND_S)


def begin_drain() -> bool:
    """Ask the work to stop by itself; return False when it cannot, or was asked before."""
    global _drains
    if _drain is None or _drains:
        return False
    _drains = True
    _drain()
    return True


def drains() -> bool:
    """Return whether the work was asked to stop by itself."""
    return _drains
