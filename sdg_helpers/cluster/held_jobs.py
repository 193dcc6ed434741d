"""Held jobs, which do not start by themselves: Slurm holds a job that a node could not launch, and people hold jobs."""

from __future__ import annotations

import warnings
from collections import Counter

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.errors import SdgError


class HeldJobs:
    """Releases the jobs that Slurm itself holds, and reports those that somebody holds."""

    def __init__(self, max_releases: int):
        """max_releases: of one job."""
        self._max_releases = max_releases
        self._releases: Counter[str] = Counter()
        self._reported: set[str] = set()

    def handle(self, live: list[SlurmJob]) -> None:
        """Release or report the held ones of these jobs.

        Raises SdgError, after cancelling it, for a job that Slurm holds again and again.
        """
        for job in live:
            if job.state == "RUNNING" or not job.held:
                continue
            if not job.held_after_failure:
                self._report(job)
            elif self._releases[job.job_id] < self._max_releases:
                self._releases[job.job_id] += 1
                slurm.release(job.job_id)
            else:
                slurm.cancel([job.job_id])
                raise SdgError(
                    f"job {job.job_id} was released {self._max_releases} times (max_restarts) and is held again: "
                    f"{job.reason}. It was cancelled. Ask the cluster's support about the nodes it failed on, or "
                    "exclude them (sbatch: {exclude: …} under jobs: in the profile), then run again."
                )

    def _report(self, job: SlurmJob) -> None:
        if job.job_id not in self._reported:
            self._reported.add(job.job_id)
            warnings.warn(
                f"job {job.job_id} is held ({job.reason}) and does not start until it is released: "
                f"{' '.join(slurm.release_command(job.job_id))}",
                stacklevel=2,
            )
