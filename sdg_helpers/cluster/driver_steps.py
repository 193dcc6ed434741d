"""One step of a driver: look at the jobs, submit what is missing or died, cancel what cannot start, report failures."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.bad_nodes import BadNodes
from sdg_helpers.cluster.cluster_names import task_of
from sdg_helpers.cluster.held_jobs import HeldJobs
from sdg_helpers.cluster.job_failures import JobFailure, explain_failure
from sdg_helpers.cluster.scaling import servers_wanted
from sdg_helpers.cluster.slurm_jobs import NEVER_STARTS, SELF_IMPOSED, SlurmJob
from sdg_helpers.cluster.submitting import Submitter
from sdg_helpers.errors import SdgError

_SHOWN_FAILURES = 3
_HEALTHY_S = 3600  # after running this long, a job has all its attempts again
_MISSED_POLLS = 2  # a job that Slurm does not list this often in a row has ended and is forgotten


class Tasks(Protocol):
    """The work of a stage's jobs.

    shared: whether any job can do any of it. Then jobs of an earlier driver go on; otherwise they are waited for, as
    they may have been split differently.
    """

    shared: bool

    def unfinished(self, count: int, live: list[SlurmJob]) -> list[int]:
        """Return the numbers of the jobs, of `count`, that have work to do. Of a split stage it is asked only when no
        job is live; of a shared one at every poll, and it takes back what jobs held that are not live."""
        ...

    def drain(self, job: SlurmJob) -> None:
        """Ask a job of a shared stage to end when what it has begun is done."""
        ...

    def may_leave(self, live: list[SlurmJob]) -> bool:
        """Return whether the driver may return, when nothing is unfinished, although these jobs are live."""
        ...


class Driver:
    """Decides about the jobs of one call of run_jobs."""

    def __init__(self, submitter: Submitter, tasks: Tasks, on_poll: Callable[[list[SlurmJob]], None]):
        self.submitter, self.spec, self.records = submitter, submitter.spec, submitter.records
        self.tasks, self.on_poll = tasks, on_poll
        self.count = self.spec.servers
        self.unfinished: set[int] | None = None  # numbers of jobs with work to do; None: not known yet
        self.returned: set[int] = set()  # numbers of our jobs that have returned
        self.looked = False  # whether there was a step before: what ended earlier did other work
        self.failures: dict[int, JobFailure] = {}  # numbers of our jobs that a retry cannot help
        self.held_jobs = HeldJobs(self.spec.max_restarts)
        self.bad_nodes = BadNodes(self.records)
        self.most = sys.maxsize  # live jobs that Slurm accepts, once it has refused more
        self.missed: Counter[int] = Counter()  # polls in a row that did not list a job

    def step(self) -> bool:
        """Look at the jobs once and do what follows from it. Return False when all is done."""
        jobs = self.submitter.list_jobs(self.records.names)
        self.bad_nodes.look(jobs)
        self._record_changes(jobs)
        live = [job for job in jobs if not job.ended]
        self.on_poll(live)
        self.held_jobs.handle(live)
        self._cancel_stuck_jobs(live)
        if not all(map(self._is_ours, live)):
            return True  # jobs of an earlier driver, which has split the work in its own way
        self._look_for_work(live)
        idle = (self.unfinished or set()) - {job.index for job in live} - self.returned - self.failures.keys()
        if len(live) < self.most and (numbers := self._numbers_to_submit(idle, jobs)):
            accepted = self.submitter.submit(numbers, self.count, may_wait=bool(live))
            self.most = len(live) + len(accepted) if len(accepted) < len(numbers) else sys.maxsize
            self.returned.difference_update(accepted)
            self.missed.clear()
        over = not idle and (not live or (not self.unfinished and self.tasks.may_leave(live)))
        if over:
            self._report_failures()
        else:
            self._cancel_useless_jobs(live)
        self.looked = True
        return not over

    def _look_for_work(self, live: list[SlurmJob]) -> None:
        """Ask which jobs have work to do."""
        if self.tasks.shared:
            self._scale(live)
            if not live:
                self.returned.clear()  # what they left to others may still be there
        if self.tasks.shared or not live:
            self.unfinished = set(self.tasks.unfinished(self.count, live))

    def _is_ours(self, job: SlurmJob) -> bool:
        """Whether a job does a part of this work: a server of any driver, or a part of our own split."""
        if self.tasks.shared:
            return self.records.submission(job.name).shared
        return job.name in self.submitter.names

    def _scale(self, live: list[SlurmJob]) -> None:
        """Follow the number of servers wanted: new ones are submitted, those with the highest numbers are drained."""
        before, self.count = self.count, servers_wanted(self.records.stage, self.spec.servers)
        for number in range(before, self.count):
            self.returned.discard(number)
            self.failures.pop(number, None)
        surplus = [job for job in live if job.index >= self.count]
        slurm.cancel([job.job_id for job in surplus if job.state == "PENDING"])
        for job in surplus:
            self.tasks.drain(job)

    def _numbers_to_submit(self, idle: set[int], jobs: list[SlurmJob]) -> list[int]:
        """Return which of the jobs that have work to do and are not live were never submitted, or died."""
        own = [job for job in jobs if job.name in self.submitter.names]
        return [number for number in sorted(idle) if self._has_ended(number, own) and self._may_retry(number, own)]

    def _has_ended(self, number: int, own: list[SlurmJob]) -> bool:
        """Whether a job that is not live has ended, or was never submitted, and is not just missing from one answer."""
        last = self._last_job(number, own)
        self.missed[number] = self.missed[number] + 1 if last and last.state == "GONE" else 0
        return not 0 < self.missed[number] < _MISSED_POLLS

    def _may_retry(self, number: int, own: list[SlurmJob]) -> bool:
        """Return whether a job that has ended may be submitted again; remember why it may not."""
        if last := self._last_job(number, own):
            if last.seconds >= _HEALTHY_S:
                self.submitter.attempts[number] = 0
            failure = explain_failure(last, self.records, number)
            if not failure.retry_may_succeed or self.submitter.attempts[number] >= self.spec.max_attempts:
                self.failures[number] = failure
        return number not in self.failures

    def _last_job(self, number: int, own: list[SlurmJob]) -> SlurmJob | None:
        """Return our latest job of this number, which has ended; its state is GONE when Slurm has forgotten it."""
        submissions = [
            submission
            for submission in self.records.submissions
            if submission.name in self.submitter.names
            and submission.fate == "submitted"
            and number in submission.numbers
        ]
        if not submissions:
            return None
        known = {job.name: job for job in own if job.index == number}
        last = submissions[-1]
        return known.get(last.name) or SlurmJob(task_of(last.job_id or "", number), number, last.name, "GONE")

    def _report_failures(self) -> None:
        """Raise SdgError when jobs failed whose work is still to be done."""
        failed = sorted((self.unfinished or set()) & self.failures.keys())
        if failed:
            shown = "\n".join(self.failures[number].text for number in failed[:_SHOWN_FAILURES])
            hidden = len(failed) - _SHOWN_FAILURES
            raise SdgError(
                f"{self.records.stage}: {len(failed)} of {self.count} jobs failed.\n{shown}"
                + (f"\n… and {hidden} more" if hidden > 0 else "")
                + "\nFinished work is kept. Fix the cause, then run again."
            )

    def _record_changes(self, jobs: list[SlurmJob]) -> None:
        """Record every change of state (or of whose fault the waiting is), and which of our jobs returned."""
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
            if job.state == "COMPLETED" and changed and self.looked and self._is_ours(job):
                self.returned.add(job.index)

    def _cancel_useless_jobs(self, live: list[SlurmJob]) -> None:
        """Cancel pending jobs that would find nothing to do: follow-up jobs of those that have returned."""
        if not (self.unfinished or set()) - self.returned and all(job.state == "PENDING" for job in live):
            slurm.cancel([job.job_id for job in live])

    def _cancel_stuck_jobs(self, live: list[SlurmJob]) -> None:
        """Raise SdgError, after cancelling all pending jobs, when one can never start or has waited too long."""
        deadline_s = 60 * self.spec.pending_deadline_min
        pending = [job for job in live if job.state == "PENDING"]
        for job in pending:
            waited_s = time.time() - self.records.states[job.job_id]["at"]
            of_one = job.reason.startswith("Partition") and "," in (self.spec.partition or "")
            never = job.reason in NEVER_STARTS and not of_one  # another partition may start it
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
