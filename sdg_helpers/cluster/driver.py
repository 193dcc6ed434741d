"""Run a stage's work as Slurm jobs: submit them, watch them, replace those that die, explain what failed.

How the work travels:
1. `Tasks.unfinished` says which jobs, by number, still have work to do; the jobs' states never decide that. The jobs of
   a stage that asks a model all take from the same work, block by block (servers.py).
2. `Submitter` records a submission in the stage's jobs/ folder, pickles the function there, and calls sbatch.
3. Every node of the job runs `worker`, which loads the function and calls `function(number, count)`.
4. The job's exit code tells its batch script to end, or to requeue the job: at the time limit, or after a crash.
5. At every poll (driver_steps.py), a job that died is submitted again, while the others go on, until `max_attempts`.
6. When no job is left, and none has work to do, the driver returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.driver_steps import Driver, Tasks
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.cluster.submitting import JobFunction, Submitter


class _OneJob:
    """Work that one job does as a whole."""

    shared = False

    def __init__(self, is_done: Callable[[], bool]):
        self._is_done = is_done

    def unfinished(self, count: int, live: list[SlurmJob]) -> list[int]:
        return [] if self._is_done() else [0]

    def drain(self, job: SlurmJob) -> None:
        raise NotImplementedError("one job does all of this work")

    def may_leave(self, live: list[SlurmJob]) -> bool:
        return not live


def run_one(function: JobFunction, spec: JobSpec, stage: Path, is_done: Callable[[], bool]) -> None:
    """Run `function(0, 1)` as one Slurm job, unless is_done(). Otherwise as `run_jobs`."""
    run_jobs(function, spec.model_copy(update={"servers": 1}), stage, _OneJob(is_done))


def run_jobs(
    function: JobFunction,
    spec: JobSpec,
    stage: Path,
    tasks: Tasks,
    on_poll: Callable[[list[SlurmJob]], None] | None = None,
) -> None:
    """Run `function(number, count)` as Slurm jobs until `tasks` has none that is unfinished.

    A job whose function has returned counts as finished (it records its own failures). on_poll(live jobs) is called at
    every poll. An interrupt leaves the jobs running.
    Raises SdgError with the cause and the log when the work cannot be finished: Slurm refuses the job, it was
    cancelled, it can never start, or it failed too often.
    """
    with JobRecords.open(stage) as records:
        driver = Driver(Submitter(function, spec, records, tasks.shared), tasks, on_poll or (lambda jobs: None))
        driver.submitter.recover()
        while driver.step():
            time.sleep(spec.poll_s)


def submit_one(function: JobFunction, spec: JobSpec, folder: Path) -> tuple[str, Path]:
    """Submit one job without waiting for it, unless one is live already; return that job's id and log."""
    with JobRecords.open(folder) as records:
        submitter = Submitter(function, spec, records)
        submitter.recover()
        if live := live_jobs(folder):
            submission = records.submission(live[0].name)
        else:
            submitter.submit([0], 1)
            submission = records.submissions[-1]
        return submission.job_id or "", submission.log(0)


def live_jobs(stage: Path) -> list[SlurmJob]:
    """Return a stage's jobs that are pending or running. Only reads. Raises SdgError when Slurm cannot be asked."""
    return [job for job in slurm.list_jobs(JobRecords(stage).names) if not job.ended]


def cancel_jobs(stage: Path) -> list[SlurmJob]:
    """Cancel a stage's live jobs and return them. What they have written is kept."""
    jobs = live_jobs(stage)
    slurm.cancel([job.job_id for job in jobs])
    return jobs
