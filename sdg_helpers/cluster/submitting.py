"""Submit a stage's jobs to Slurm, and find out what became of a submission that was interrupted."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.batch_script import batch_script, overriding_variables
from sdg_helpers.cluster.cluster_names import array_of, group_by_cluster, split_cluster
from sdg_helpers.cluster.job_failures import explain_refusal
from sdg_helpers.cluster.job_records import JobRecords, Submission
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.errors import SdgError
from sdg_helpers.manifests import run_folder_of

JobFunction = Callable[[int, int], Any]  # called with (number of the job, their count), on every node of a job


class Submitter:
    """Submits one driver's jobs and remembers which submissions are its own."""

    def __init__(self, function: JobFunction, spec: JobSpec, records: JobRecords, shared: bool = False):
        """shared: whether the jobs share the work, rather than do one piece each."""
        self.function, self.spec, self.records, self.shared = function, spec, records, shared
        self.names: set[str] = set()  # job names of our own submissions
        self.attempts: Counter[int] = Counter()  # our own submissions by number
        self._unanswered_since = 0.0
        self._live: dict[str, str] = {}  # id -> name of the jobs that were live at the last look

    def submit(self, numbers: list[int], count: int, may_wait: bool = False) -> list[int]:
        """Submit one array over these numbers, of `count`, and `dependent_jobs` further arrays, each after the last.

        Return what was accepted: a limit on the number of jobs leaves some, from the last on, for a later call. Raises
        SdgError when Slurm refuses even one (unless it may wait), or when a variable of `pass_environment` is not set.
        """
        after, wanted = None, numbers
        while True:
            try:
                after = self._submit_array(numbers, count, None)
                break
            except slurm.SubmissionRefused as error:
                if error.too_many_jobs and len(numbers) == 1 and may_wait:
                    return []
                if not error.too_many_jobs or len(numbers) == 1:
                    raise explain_refusal(error, self.spec) from None
                numbers = numbers[: len(numbers) // 2]
        self.attempts.update(numbers)
        try:
            for _ in range(self.spec.dependent_jobs):
                after = self._submit_array(numbers, count, after)
        except slurm.SubmissionRefused as error:
            if not error.too_many_jobs:
                raise explain_refusal(error, self.spec) from None
        if len(numbers) < len(wanted):
            warnings.warn(
                f"Slurm accepts {len(numbers)} of {len(wanted)} jobs now, because of a limit on the number of jobs. "
                "The others follow when these have ended.",
                stacklevel=2,
            )
        return numbers

    def _submit_array(self, numbers: list[int], count: int, after: str | None) -> str | None:
        from submitit.core.utils import cloudpickle_dump

        if missing := [name for name in self.spec.pass_environment if name not in os.environ]:
            raise SdgError(
                f"jobs: pass_environment: {', '.join(missing)} is not set. Set it where sdg is started: the jobs "
                "inherit it from there, and it is written to no file."
            )
        with self.records.sbatch_lock() as lock_fd:
            logs = Path(self.spec.log_folder).expanduser() if self.spec.log_folder else None
            submission = self.records.new_submission(numbers, count, logs, self.shared, self.spec.cluster)
            folder = submission.folder
            self.names.add(submission.name)
            cloudpickle_dump((self.function, count), folder / "work.pkl")
            (folder / "work.pkl").chmod(0o600)
            script = folder / "job.sh"
            run = run_folder_of(self.records.stage)
            spec = self._without_bad_nodes()
            script.write_text(batch_script(spec, submission.name, numbers, run, folder, submission.log_folder, after))
            try:
                job_id = slurm.submit(script, lock_fd, overriding_variables(self.spec), self.spec.cluster)
            except slurm.SubmissionRefused as error:
                self.records.append("refused", submission=submission.number, said=error.message)
                raise
            except slurm.SlurmUnavailable:
                job_id = None  # Slurm may still have accepted it
            if job_id is not None:
                self.records.append("submitted", submission=submission.number, job=job_id)
        if job_id is None:
            self._look_up(submission)
        return submission.job_id

    def _without_bad_nodes(self) -> JobSpec:
        """Return the settings, leaving out the nodes on which jobs failed at once."""
        nodes = [str(self.spec.sbatch["exclude"])] if "exclude" in self.spec.sbatch else []
        excluded = group_by_cluster(self.records.excluded).get(self.spec.cluster or "", [])
        if not excluded:
            return self.spec
        exclude = ",".join([*nodes, *excluded])
        return self.spec.model_copy(update={"sbatch": {**self.spec.sbatch, "exclude": exclude}})

    def recover(self) -> None:
        """Find out what became of submissions whose driver was killed before it knew."""
        for submission in self.records.submissions:
            if submission.fate != "submitting":
                continue
            with self.records.sbatch_lock():  # an sbatch that is still running holds this lock
                job_id = slurm.read_job_id(submission.folder, split_cluster(submission.name)[1])
            if job_id is not None:
                self.records.append("submitted", submission=submission.number, job=job_id)
            else:
                self._look_up(submission)

    def _look_up(self, submission: Submission) -> None:
        """Ask Slurm for the submission's job by name. If there is none, abandon the submission."""
        found = self.list_jobs([submission.name])
        if found:
            self.records.append("submitted", submission=submission.number, job=array_of(found[0].job_id))
        else:
            submission.abandon()
            self.records.append("abandoned", submission=submission.number)

    def list_jobs(self, names: list[str]) -> list[SlurmJob]:
        """Ask Slurm for jobs by name, again and again while it does not answer, for up to `slurm_deadline_s`.

        A list without a job that was live a moment ago, and still is, is no answer.
        """
        while True:
            try:
                jobs = slurm.list_jobs(names)
                self._reject_omissions(names, jobs)
                self._unanswered_since = 0.0
                return jobs
            except slurm.SlurmUnavailable as error:
                now = time.time()
                self._unanswered_since = self._unanswered_since or now
                if now - self._unanswered_since > self.spec.slurm_deadline_s:
                    raise SdgError(
                        f"Slurm has not answered for {now - self._unanswered_since:.0f} s ({error}). The jobs keep "
                        "running. When Slurm is back, run again: their work is picked up."
                    ) from None
                time.sleep(min(self.spec.poll_s, 5))

    def _reject_omissions(self, names: list[str], jobs: list[SlurmJob]) -> None:
        """Raise SlurmUnavailable when the list lacks a job that is still live; else remember which are."""
        listed = {job.job_id for job in jobs}
        for job_id, name in self._live.items():
            if name in names and job_id not in listed and slurm.is_live(job_id):
                raise slurm.SlurmUnavailable(f"squeue does not list job {job_id}, which is live")
        self._live = {one: name for one, name in self._live.items() if name not in names}
        self._live |= {job.job_id: job.name for job in jobs if not job.ended}
