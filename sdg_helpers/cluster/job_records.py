"""What a stage remembers about its jobs: the jobs/ folder, written so that no job is ever submitted twice.

    jobs.jsonl                events, one a line: begun, submitting, submitted, refused, abandoned, state,
                              excluded
    submissions/0001/TOKEN/   one call of sbatch: work.pkl, job.sh, and sbatch.out and sbatch.err with its output
    attempts/                 what each attempt of a job reports: when it began and ended, and why
    logs/                     one log a job

A submission is recorded under a unique job name before sbatch is called. A driver that finds a submission without a
job id (its driver was killed) waits until that sbatch has ended and reads its output; without one, it asks Slurm
for a job of that name.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster.cluster_names import on_cluster
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock, open_lockable

_SBATCH_S = 300  # longer than sbatch itself tries to reach the controller


def jobs_folder_of(submission: Path) -> Path:
    """The jobs/ folder, given the folder of one of its submissions (jobs/submissions/0001/TOKEN)."""
    return submission.parent.parent.parent


@dataclass
class Submission:
    """One call of sbatch: an array of jobs with these `numbers`, of `count`.

    shared: they take their work block by block; otherwise each does its own part.
    """

    number: int
    name: str
    numbers: list[int]
    count: int
    at: float  # seconds since the epoch
    folder: Path
    log_folder: Path
    shared: bool = False
    fate: str = "submitting"  # then submitted, refused or abandoned
    job_id: str | None = None

    def log(self, number: int) -> Path:
        """Return the log of the job with this number; a requeued job appends to it."""
        return self.log_folder / f"{number:04d}-{self.number:04d}.log"

    def abandon(self) -> None:
        """Mark the submission so that a job of it that still turns up does nothing."""
        files.write_json(self.folder / "abandoned.json", {"at": time.time()})


class JobRecords:
    """The events of a stage's jobs.jsonl, and the submissions that they describe."""

    def __init__(self, stage: Path | str):
        """Read the records and write nothing. stage: the stage's folder (outputs/RUN/TRACK/STAGE)."""
        self.stage = Path(stage).resolve()
        self.folder = self.stage / "jobs"
        self.path = self.folder / "jobs.jsonl"
        self.token, self.begun_in = "", self.stage
        self.submissions: list[Submission] = []
        self.states: dict[str, dict[str, Any]] = {}  # job id -> its latest state event
        self.excluded: list[str] = []  # nodes that later submissions leave out, as n1 or n1@dusk
        self._log: files.AppendLog | None = None
        for event in files.read_log(self.path):
            self._apply(event)

    @classmethod
    @contextmanager
    def open(cls, stage: Path | str) -> Iterator[JobRecords]:
        """Open the records for reading and writing, under a lock. Raises SdgError while another driver has them."""
        folder = Path(stage).resolve() / "jobs"
        what = "a driver of the jobs of " + "/".join(folder.parts[-4:-1])
        with Lock(folder / ".lock", what), files.AppendLog(folder / "jobs.jsonl") as log:
            records = cls(stage)
            records._log = log
            if not records.token or records._is_copy():
                records.submissions, records.states = [], {}
                records.append("begun", token=secrets.token_hex(4), folder=str(records.stage))
            yield records

    def append(self, event: str, **fields: Any) -> None:
        """Append an event; it is on disk when this returns."""
        if self._log is None:
            raise RuntimeError("these records are read-only: use JobRecords.open")
        row = {"event": event, **fields, "at": time.time()}
        self._log.append(row)
        self._log.flush()
        self._apply(row)

    def new_submission(
        self,
        numbers: Sequence[int],
        count: int,
        log_folder: Path | None,
        shared: bool = False,
        cluster: str | None = None,
    ) -> Submission:
        """Record that these jobs are about to be submitted, under a job name that is used once."""
        existing = (self.folder / "submissions").glob("[0-9]*")
        number = 1 + max((int(path.name) for path in existing), default=0)
        folder = self._submission_folder(number)
        folder.parent.mkdir(parents=True)  # fails if it exists: two drivers that do not see each other's locks
        folder.mkdir()
        folder.chmod(folder.stat().st_mode & ~0o022)  # its jobs run what is in it, whatever the umask
        logs = log_folder or self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.append(
            "submitting",
            submission=number,
            name=on_cluster(f"{self.prefix}-{number:04d}", cluster),
            chunks=list(numbers),
            num_chunks=count,
            logs=str(logs),
            shared=shared,
        )
        return self.submissions[-1]

    @property
    def prefix(self) -> str:
        """What every job name of this stage begins with: readable, and unique to this folder."""
        run, track, name = ([""] * 3 + list(self.stage.parts))[-3:]
        return re.sub(r"[^A-Za-z0-9._-]", "_", f"sdg-{run}-{track}-{name}-{self.token}")

    @property
    def names(self) -> list[str]:
        """The names of all jobs that Slurm may know; empty for a copied run: those jobs belong to the original."""
        if self._is_copy():
            return []
        return [submission.name for submission in self.submissions if submission.fate in ("submitting", "submitted")]

    def submission(self, name: str) -> Submission:
        """Return the submission with this job name."""
        return next(submission for submission in self.submissions if submission.name == name)

    @contextmanager
    def sbatch_lock(self) -> Iterator[int]:
        """Hold a lock while sbatch runs; yields its file descriptor, for sbatch to inherit.

        Waits for an sbatch whose driver was killed. Raises SdgError when that takes longer than sbatch ever runs.
        """
        with open_lockable(self.folder / ".submitting") as file:
            deadline = time.time() + _SBATCH_S
            while True:
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if time.time() > deadline:
                    raise SdgError(
                        f"{file.name}: the sbatch of another driver has held this lock for {_SBATCH_S} s. "
                        "Find it with `ps` on the machine where it was started, end it, then run again."
                    )
                time.sleep(0.2)
            os.set_inheritable(file.fileno(), True)
            yield file.fileno()

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "begun":
            self.token, self.begun_in = event["token"], Path(event["folder"])
            self.submissions, self.states, self.excluded = [], {}, []
        elif kind == "submitting":
            number = event["submission"]
            self.submissions.append(
                Submission(
                    number=number,
                    name=event["name"],
                    numbers=event["chunks"],
                    count=event["num_chunks"],
                    at=event["at"],
                    folder=self._submission_folder(number),
                    log_folder=Path(event["logs"]),
                    shared=event.get("shared", False),
                )
            )
        elif kind == "state":
            self.states[event["job"]] = event
        elif kind == "excluded":
            self.excluded += event["nodes"]
        else:
            submission = next(one for one in self.submissions if one.number == event["submission"])
            submission.fate, submission.job_id = kind, event.get("job")

    def _submission_folder(self, number: int) -> Path:
        """Return a folder under the token: jobs that were submitted before a reset must not find the new work."""
        return self.folder / "submissions" / f"{number:04d}" / self.token

    def _is_copy(self) -> bool:
        """Whether this folder is a copy of one that still exists; its jobs then belong to the original."""
        try:
            return not self.begun_in.samefile(self.stage)
        except OSError:
            return False  # moved, or mounted under another name: the jobs are still ours
