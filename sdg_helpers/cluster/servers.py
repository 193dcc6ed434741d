"""Run a stage in jobs that take its work block by block: a job is a server, and none owns a share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdg_helpers.budgets.account import check_left
from sdg_helpers.cluster import keeping, ranks, this_job
from sdg_helpers.cluster.driver import run_jobs
from sdg_helpers.cluster.job_progress import JobProgress
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.cluster.submitting import JobFunction
from sdg_helpers.leases import blocks
from sdg_helpers.leases.lease_folder import LeaseFolder, job_of, leases_of
from sdg_helpers.manifests import run_folder_of
from sdg_helpers.serving.server import Server
from sdg_helpers.stages import Work

_MISSED_POLLS = 2  # a job that Slurm does not list as running this often in a row holds nothing any more


def run_in_servers(
    work: Work,
    function: JobFunction,
    jobs: JobSpec,
    find_missing: Callable[[bool], np.ndarray],
    before: int,
    total: int,
) -> None:
    """Run `function` in jobs until none of the stage's blocks is left, and report the progress in rows.

    find_missing(again): the rows to make, read from disk, a bool array of shape (items, seeds). again: leave out those
    that have failed. before: rows done at the start, of total. BudgetSpent is raised when the jobs have ended.
    """
    progress = JobProgress(work, before, total)

    def look(again: bool) -> np.ndarray:
        missing = find_missing(again)
        progress.look(total - int(missing.sum()))
        return missing

    stage = work.folder.resolve()
    kept = keeping.keep(stage)

    def at_rest(live: list[SlurmJob]) -> bool:
        return not live or (kept and not keeping.busy_jobs(stage, live))

    shared = SharedBlocks(leases_of(stage), look, lambda: check_left(run_folder_of(stage)), at_rest)
    run_jobs(function, jobs, work.folder, shared, progress.report)


def serve_blocks(
    stage: Path, jobs: JobSpec, open_server: Callable[[], Server | None], work_off: Callable[[Server], None]
) -> None:
    """Open a server and work off the blocks with it, as long as there are any: what a job does.

    stage: its folder. open_server returns None on a node that only helps to serve, when the server has ended.
    """
    leases, job = leases_of(stage), this_job.job_name()
    if ranks.current().rank == 0:
        keeping.not_busy(stage)
        if not leases.has_work(job):
            return
    if (server := open_server()) is None:
        return
    while True:
        with keeping.busy(stage):
            if leases.has_work(job):
                work_off(server)
        if this_job.drains() or not keeping.wait_for_work(stage, leases, 60 * jobs.keep_idle_min):
            return


class SharedBlocks:
    """The blocks of a stage as the work of a driver's jobs, of which any can do any."""

    shared = True

    def __init__(
        self,
        leases: LeaseFolder,
        find_missing: Callable[[bool], np.ndarray],
        check_left: Callable[[], None],
        at_rest: Callable[[list[SlurmJob]], bool] = lambda live: not live,
    ):
        """at_rest: whether none of the live jobs works or writes: they wait, or there are none."""
        self._leases, self._find_missing, self._check_left, self._at_rest = leases, find_missing, check_left, at_rest
        self._missed: dict[str, int] = {}  # job -> polls in a row in which it did not run, though it holds leases
        self._created = False  # whether the blocks are ours, or those of an earlier driver whose jobs are still live

    def unfinished(self, servers: int, live: list[SlurmJob]) -> list[int]:
        """Return the numbers of the servers that are of use: all, while a block is left.

        Blocks are made of the missing rows when all jobs are at rest: at first, and as long as a row is missing that no
        failure explains. Leases of jobs that have ended are given back.
        """
        at_rest = self._at_rest(live)  # before the look at the blocks: a job is busy before it takes one
        self._release(live)
        if at_rest and not (self._created and (self._leases.free() or self._leases.taken())):
            missing = self._find_missing(self._created)
            self._leases.create(blocks.split(np.asarray(missing.any(axis=1)), missing.shape[1], servers))
            self._created = True
        if not (self._leases.free() or self._leases.taken()):
            return []
        if at_rest:
            self._check_left()
        return list(range(servers))

    def may_leave(self, live: list[SlurmJob]) -> bool:
        """Return whether the jobs have nothing to do, and wait for the next round."""
        return self._at_rest(live)

    def drain(self, job: SlurmJob) -> None:
        """Ask a server to take no more blocks and to end."""
        self._leases.drain(job.job_id)

    def _release(self, live: list[SlurmJob]) -> None:
        """Give back what jobs hold that Slurm does not list as running, now and at the last poll.

        When no job is live at all, nothing is held.
        """
        running = {job.job_id for job in live if job.state != "PENDING"}
        idle = {job for lease in self._leases.taken() if (job := job_of(lease.owner)) not in running}
        self._missed = {job: self._missed.get(job, 0) + 1 for job in idle}
        dead = {job for job, missed in self._missed.items() if missed >= _MISSED_POLLS or not live}
        if dead:
            self._leases.release(lambda owner: job_of(owner) in dead)
