"""Run a stage's chunks as Slurm jobs until nothing is left to do: submit, watch, submit what is left, say why not.

A job is one chunk: `function(chunk, num_chunks)`, on every node of the job. Whether work is done is never read off a
job's end, but asked of the stage (`left`). Everything that a later driver must know is in the stage's jobs/ folder.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.batch_script import batch_script, decided
from sdg_helpers.cluster.job_causes import cause_of, refused
from sdg_helpers.cluster.job_records import JobRecords, Submission
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm import SlurmJob
from sdg_helpers.errors import SdgError


def run_chunks(
    function: Callable[[int, int], Any],
    spec: JobSpec,
    stage: Path,
    left: Callable[[int], list[int]],
    on_poll: Callable[[list[SlurmJob]], None] | None = None,
) -> None:
    """Run `function(chunk, num_chunks)` for every chunk that `left(num_chunks)` names, as jobs of Slurm.

    Jobs of an earlier driver are taken up again, whatever split they have; what is left after them is split anew.
    Returns when every chunk that was left has returned (what it could not do it has noted itself). on_poll(jobs that
    live) is called at every look. An interrupt leaves the jobs at work. Raises SdgError with cause and log when a chunk
    cannot be finished: Slurm refuses, somebody cancelled it, it waits for ever, it failed too often.
    """
    with JobRecords.open(stage) as records:
        driver = _Driver(function, spec, records, left, on_poll or (lambda jobs: None))
        driver.settle()
        driver.watch()
        while chunks := driver.unfinished():
            driver.submit(chunks)
            driver.watch()


def submit_one(function: Callable[[int, int], Any], spec: JobSpec, folder: Path) -> tuple[str, Path]:
    """Submit one job and do not wait for it; returns its id and its log: those of the job that lives, if one does."""
    with JobRecords.open(folder) as records:
        driver = _Driver(function, spec, records, lambda num_chunks: [0], lambda jobs: None)
        driver.settle()
        if not (alive := live_jobs(folder)):
            driver.submit([0])
        one = records.submission(alive[0].name) if alive else records.submissions[-1]
        return one.job_id or "", one.log(0)


def live_jobs(stage: Path) -> list[SlurmJob]:
    """The jobs of a stage that Slurm still has to do with; reads only."""
    return [job for job in slurm.list_jobs(JobRecords(stage).names) if not job.ended]


def cancel_jobs(stage: Path) -> list[SlurmJob]:
    """Cancel a stage's jobs; returns those that lived. What they have written stays."""
    jobs = live_jobs(stage)
    slurm.cancel([job.job_id for job in jobs])
    return jobs


class _Driver:
    """One call of run_chunks."""

    def __init__(
        self,
        function: Callable[[int, int], Any],
        spec: JobSpec,
        records: JobRecords,
        left: Callable[[int], list[int]],
        on_poll: Callable[[list[SlurmJob]], None],
    ):
        self.function, self.spec, self.records, self.left, self.on_poll = function, spec, records, left, on_poll
        self.returned: set[int] = set()  # chunks of our own split whose job returned
        self.attempts: Counter = Counter()  # submissions of ours, by chunk
        self.ours: set[str] = set()  # names of our submissions
        self._silent_since = 0.0

    # --- what is to be done

    def unfinished(self) -> list[int]:
        """Chunks to submit now. Raises SdgError when one of them cannot be finished by another try."""
        chunks = [chunk for chunk in self.left(self.spec.num_chunks) if chunk not in self.returned]
        hopeless, known = [], self._jobs() if self.ours else []
        for chunk in chunks:
            last = self._last_end(chunk, known)
            if last is not None:
                cause = cause_of(last, self.records, chunk)
                if not cause.may_go_better or self.attempts[chunk] >= self.spec.max_attempts:
                    hopeless.append(cause)
        if hopeless:
            told = "\n".join(cause.text for cause in hopeless[:3])
            more = f"\n… and {len(hopeless) - 3} more chunks" if len(hopeless) > 3 else ""
            raise SdgError(
                f"{self.records.stage}: {len(hopeless)} of {self.spec.num_chunks} chunks could not be "
                f"finished.\n{told}{more}\nWhat was written is kept. Mend the cause, then run again."
            )
        return chunks

    def _last_end(self, chunk: int, jobs: list[SlurmJob]) -> SlurmJob | None:
        """The latest job of ours for this chunk, which has ended; GONE when Slurm remembers it no longer."""
        tried = [
            one
            for one in self.records.submissions
            if one.name in self.ours and one.fate == "submitted" and chunk in one.chunks
        ]
        if not tried:
            return None
        known = {job.name: job for job in jobs if job.index == chunk}
        last = tried[-1]
        return known.get(last.name) or SlurmJob(f"{last.job_id}_{chunk}", chunk, last.name, "GONE")

    # --- submitting

    def submit(self, chunks: list[int]) -> None:
        """One array over the chunks, and as many that continue it as the profile says."""
        after = None
        for _ in range(1 + self.spec.dependent_jobs):
            after = self._submit(chunks, after)
        self.attempts.update(chunks)

    def _submit(self, chunks: list[int], after: str | None) -> str | None:
        from submitit.core.utils import cloudpickle_dump

        if lacking := [name for name in self.spec.pass_environment if name not in os.environ]:
            raise SdgError(
                f"jobs: pass_environment: expected {', '.join(lacking)} in the environment, found none. Set "
                "it where sdg is started: jobs get it from there, and it is written nowhere."
            )
        with self.records.submitting() as hold:
            logs = Path(self.spec.log_folder).expanduser() if self.spec.log_folder else None
            one = self.records.begin(chunks, self.spec.num_chunks, logs)
            self.ours.add(one.name)
            cloudpickle_dump((self.function, self.spec.num_chunks), one.folder / "work.pkl")
            script = one.folder / "job.sh"
            script.write_text(batch_script(self.spec, one.name, chunks, one.folder, one.log_folder, after))
            try:
                job_id = slurm.submit(script, hold, decided(self.spec))
            except slurm.SubmissionRefused as error:
                self.records.note("refused", submission=one.number, said=error.said)
                raise refused(error, self.spec) from None
            except slurm.SlurmUnavailable:
                job_id = None  # it may have been taken all the same
            if job_id is not None:
                self.records.note("submitted", submission=one.number, job=job_id)
        if job_id is None:
            self._find(one)
        return one.job_id

    def settle(self) -> None:
        """Find out what became of submissions whose driver was killed before it knew."""
        for one in self.records.submissions:
            if one.fate == "submitting":
                with self.records.submitting():  # an sbatch that still runs holds this lock
                    job_id = slurm.submitted_id(one.folder)
                if job_id is not None:
                    self.records.note("submitted", submission=one.number, job=job_id)
                else:
                    self._find(one)

    def _find(self, one: Submission) -> None:
        """Ask Slurm for a job by its name; one that it does not have is given up, should it turn up after all."""
        found = self._ask([one.name])
        if found:
            self.records.note("submitted", submission=one.number, job=found[0].job_id.partition("_")[0])
        else:
            one.abandon()
            self.records.note("abandoned", submission=one.number)

    # --- watching

    def watch(self) -> None:
        """Wait until no job lives. Jobs that could only wait for ever are cancelled, with an SdgError."""
        while True:
            jobs = self._jobs()
            self._note(jobs)
            live = [job for job in jobs if not job.ended]
            self.on_poll(live)
            if not live:
                return
            self._refuse_waiting(live)
            if self._all_done(jobs):
                slurm.cancel([job.job_id for job in live])  # continuations that have nothing to continue
            time.sleep(self.spec.poll_s)

    def _jobs(self) -> list[SlurmJob]:
        return self._ask(self.records.names)

    def _ask(self, names: list[str]) -> list[SlurmJob]:
        """Slurm's answer, asked for again while it gives none, until the deadline for that."""
        while True:
            try:
                jobs = slurm.list_jobs(names)
                self._silent_since = 0.0
                return jobs
            except slurm.SlurmUnavailable as error:
                now = time.time()
                self._silent_since = self._silent_since or now
                if now - self._silent_since > self.spec.slurm_deadline_s:
                    raise SdgError(
                        f"Slurm does not answer since {now - self._silent_since:.0f} s ({error}). Jobs go "
                        "on without us: run again when it is back, they are taken up again."
                    ) from None
                time.sleep(min(self.spec.poll_s, 5))

    def _note(self, jobs: list[SlurmJob]) -> None:
        """Write down what changed, since when the cluster keeps a job waiting, and which of our chunks returned."""
        for job in jobs:
            before = self.records.states.get(job.job_id, {})
            if (job.state, job.reason in slurm.OURS) != (before.get("state"), before.get("reason") in slurm.OURS):
                self.records.note(
                    "state",
                    job=job.job_id,
                    name=job.name,
                    chunk=job.index,
                    state=job.state,
                    nodes=job.nodes,
                    reason=job.reason,
                )
            if job.state == "COMPLETED" and job.name in self.ours:
                self.returned.add(job.index)

    def _all_done(self, jobs: list[SlurmJob]) -> bool:
        """Whether all chunks of our array have returned, so that what lives are its continuations only."""
        asked = {job.index for job in jobs if job.name in self.ours}
        return bool(asked) and asked <= self.returned and all(job.state == "PENDING" for job in jobs if not job.ended)

    def _refuse_waiting(self, live: list[SlurmJob]) -> None:
        deadline_s = 60 * self.spec.pending_deadline_min
        for job in [one for one in live if one.state == "PENDING"]:
            waited_s = time.time() - self.records.states[job.job_id]["at"]
            never = job.reason in slurm.NEVER
            late = deadline_s and waited_s > deadline_s and job.reason not in slurm.OURS
            if never or late:
                slurm.cancel([one.job_id for one in live if one.state == "PENDING"])
                why = "time will not cure that" if never else f"for {waited_s / 60:.0f} minutes (pending_deadline_min)"
                raise SdgError(
                    f"job {job.job_id} waits ({job.reason}): {why}. It was cancelled, with the others that "
                    "wait. Ask for what the cluster can give (jobs: in the profile), then run again."
                )
