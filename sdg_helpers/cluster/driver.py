"""Run a stage's chunks as Slurm jobs: submit them, watch them, resubmit what is missing, explain what failed.

How a chunk travels:
1. `run_chunks` asks the stage which chunks have work left (`unfinished_chunks`); the jobs' states never decide that.
2. `Submitter` records a submission in the stage's jobs/ folder, pickles the function there, and calls sbatch.
3. Every node of the job runs `worker`, which loads the function and calls `function(chunk, num_chunks)`.
4. The job's exit code tells its batch script to end, or to requeue the job: at the time limit, or after a crash.
5. At every poll, a chunk whose job died is submitted again, while the others go on, until `max_attempts`.
6. When no job is left, step 1 is repeated.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.held_jobs import HeldJobs
from sdg_helpers.cluster.job_failures import JobFailure, explain_failure
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm_jobs import NEVER_STARTS, SELF_IMPOSED, SlurmJob
from sdg_helpers.cluster.submitting import ChunkFunction, Submitter
from sdg_helpers.errors import SdgError

_SHOWN_FAILURES = 3
_MISSED_POLLS = 2  # a job that Slurm does not list this often in a row has ended and is forgotten


def run_chunks(
    function: ChunkFunction,
    spec: JobSpec,
    stage: Path,
    unfinished_chunks: Callable[[int], list[int]],
    on_poll: Callable[[list[SlurmJob]], None] | None = None,
) -> None:
    """Run `function(chunk, num_chunks)` as Slurm jobs, for every chunk that `unfinished_chunks(num_chunks)` returns.

    The jobs of an earlier driver are waited for first, however it split the work; what is left is then split again.
    Returns when every unfinished chunk's function has returned (a chunk records its own failures).
    on_poll(live jobs) is called at every poll. An interrupt leaves the jobs running.
    Raises SdgError with the cause and the log when a chunk cannot be finished: Slurm refuses the job, it was
    cancelled, it can never start, or it failed too often.
    """
    with JobRecords.open(stage) as records:
        driver = _Driver(Submitter(function, spec, records), unfinished_chunks, on_poll or (lambda jobs: None))
        driver.submitter.recover()
        driver.watch()
        while chunks := driver.chunks_to_submit():
            driver.submitter.submit(chunks)
            driver.watch()


def submit_one(function: ChunkFunction, spec: JobSpec, folder: Path) -> tuple[str, Path]:
    """Submit one job without waiting for it, unless one is live already; return that job's id and log."""
    with JobRecords.open(folder) as records:
        submitter = Submitter(function, spec, records)
        submitter.recover()
        if live := live_jobs(folder):
            submission = records.submission(live[0].name)
        else:
            submitter.submit([0])
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


class _Driver:
    """One call of run_chunks."""

    def __init__(
        self,
        submitter: Submitter,
        unfinished_chunks: Callable[[int], list[int]],
        on_poll: Callable[[list[SlurmJob]], None],
    ):
        self.submitter, self.spec, self.records = submitter, submitter.spec, submitter.records
        self.unfinished_chunks, self.on_poll = unfinished_chunks, on_poll
        self.returned: set[int] = set()  # chunks of our own split whose job returned
        self.failures: dict[int, JobFailure] = {}  # chunks of our own split that a retry cannot finish
        self.held_jobs = HeldJobs(self.spec.max_restarts)
        self.missed: Counter[int] = Counter()  # polls in a row that did not list a chunk's job

    def chunks_to_submit(self) -> list[int]:
        """Return the chunks to submit now. Raises SdgError when a retry cannot finish one of them."""
        chunks = [chunk for chunk in self.unfinished_chunks(self.spec.num_chunks) if chunk not in self.returned]
        jobs = self._list_jobs() if self.submitter.names else []
        failures = [self.failures[chunk] for chunk in chunks if not self._may_retry(chunk, jobs)]
        if failures:
            shown = "\n".join(failure.text for failure in failures[:_SHOWN_FAILURES])
            hidden = len(failures) - _SHOWN_FAILURES
            raise SdgError(
                f"{self.records.stage}: {len(failures)} of {self.spec.num_chunks} chunks failed.\n{shown}"
                + (f"\n… and {hidden} more chunks" if hidden > 0 else "")
                + "\nFinished work is kept. Fix the cause, then run again."
            )
        return chunks

    def _may_retry(self, chunk: int, jobs: list[SlurmJob]) -> bool:
        """Return whether the chunk of a job that has ended may be submitted again; remember why it may not."""
        if chunk not in self.failures and (last := self._last_job(chunk, jobs)):
            failure = explain_failure(last, self.records, chunk)
            if not failure.retry_may_succeed or self.submitter.attempts[chunk] >= self.spec.max_attempts:
                self.failures[chunk] = failure
        return chunk not in self.failures

    def _chunks_to_replace(self, jobs: list[SlurmJob]) -> list[int]:
        """Return the chunks whose job died and may be submitted again, while others go on."""
        own = [job for job in jobs if job.name in self.submitter.names]
        live, chunks = {job.index for job in own if not job.ended}, []
        for chunk in self.submitter.attempts.keys() - live - self.returned - self.failures.keys():
            last = self._last_job(chunk, own)
            self.missed[chunk] = self.missed[chunk] + 1 if last and last.state == "GONE" else 0
            if self.missed[chunk] in (0, _MISSED_POLLS) and self._may_retry(chunk, own):
                self.missed[chunk] = 0
                chunks.append(chunk)
        return sorted(chunks)

    def _last_job(self, chunk: int, jobs: list[SlurmJob]) -> SlurmJob | None:
        """Return our latest job for this chunk, which has ended; its state is GONE when Slurm has forgotten it."""
        submissions = [
            submission
            for submission in self.records.submissions
            if submission.name in self.submitter.names and submission.fate == "submitted" and chunk in submission.chunks
        ]
        if not submissions:
            return None
        known = {job.name: job for job in jobs if job.index == chunk}
        last = submissions[-1]
        return known.get(last.name) or SlurmJob(f"{last.job_id}_{chunk}", chunk, last.name, "GONE")

    def watch(self) -> None:
        """Wait until no job is live. Raises SdgError after cancelling jobs that would stay pending for ever."""
        while True:
            jobs = self._list_jobs()
            self._record_changes(jobs)
            live = [job for job in jobs if not job.ended]
            self.on_poll(live)
            if live and (chunks := self._chunks_to_replace(jobs)):
                self.submitter.submit(chunks)
            if not live:
                return
            self.held_jobs.handle(live)
            self._cancel_stuck_jobs(live)
            if self._only_continuations_left(jobs):
                slurm.cancel([job.job_id for job in live])
            time.sleep(self.spec.poll_s)

    def _list_jobs(self) -> list[SlurmJob]:
        return self.submitter.list_jobs(self.records.names)

    def _record_changes(self, jobs: list[SlurmJob]) -> None:
        """Record every change of state (or of whose fault the waiting is), and which of our chunks returned."""
        for job in jobs:
            before = self.records.states.get(job.job_id, {})
            changed = job.state != before.get("state")
            if changed or (job.reason in SELF_IMPOSED) != (before.get("reason") in SELF_IMPOSED):
                self.records.append(
                    "state",
                    job=job.job_id,
                    name=job.name,
                    chunk=job.index,
                    state=job.state,
                    nodes=job.nodes,
                    reason=job.reason,
                )
            if job.state == "COMPLETED" and job.name in self.submitter.names:
                self.returned.add(job.index)

    def _only_continuations_left(self, jobs: list[SlurmJob]) -> bool:
        """Whether all chunks of our array have returned: the live jobs are then continuations with nothing to do."""
        submitted = {job.index for job in jobs if job.name in self.submitter.names}
        pending = all(job.state == "PENDING" for job in jobs if not job.ended)
        return bool(submitted) and submitted <= self.returned and pending

    def _cancel_stuck_jobs(self, live: list[SlurmJob]) -> None:
        """Raise SdgError, after cancelling all pending jobs, when one can never start or has waited too long."""
        deadline_s = 60 * self.spec.pending_deadline_min
        pending = [job for job in live if job.state == "PENDING"]
        for job in pending:
            waited_s = time.time() - self.records.states[job.job_id]["at"]
            never = job.reason in NEVER_STARTS
            late = deadline_s and waited_s > deadline_s and job.reason not in SELF_IMPOSED
            if never or late:
                slurm.cancel([other.job_id for other in pending])
                if never:
                    what = f"can never start ({job.reason})"
                else:
                    what = f"has been pending ({job.reason}) for {waited_s / 60:.0f} minutes (pending_deadline_min)"
                raise SdgError(
                    f"job {job.job_id} {what}. It and the stage's other pending jobs were cancelled. Request what the "
                    "cluster can give (jobs: in the profile), then run again."
                )
