"""What a stage remembers of its jobs: jobs/ in its folder, written so that no job is ever submitted twice.

    jobs.jsonl                what happened, one event a line: begun, submitting, submitted, refused, abandoned, state
    submissions/0001/TOKEN/   one call of sbatch: work.pkl, job.sh, sbatch.out and sbatch.err (its words, the job's id)
    attempts/                 what each attempt at a chunk says of itself: began, ended, why
    logs/                     one log a job

A submission is written down under a job name of its own before sbatch is called. Whoever finds one that has no job id
(its driver was killed) waits until that sbatch has ended, reads what it left, and else asks Slurm for the name."""

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
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock

_SBATCH_S = 300  # longer than sbatch itself tries to reach its controller


@dataclass
class Submission:
    """One sbatch: an array of jobs over `chunks` of `num_chunks`. fate: submitting, submitted, refused, abandoned."""

    number: int
    name: str
    chunks: list[int]
    num_chunks: int
    at: float
    folder: Path
    log_folder: Path
    fate: str = "submitting"
    job_id: str | None = None

    def log(self, chunk: int) -> Path:
        """Where the job of a chunk writes what it prints; requeued, it appends."""
        return self.log_folder / f"{chunk:04d}-{self.number:04d}.log"

    def abandon(self) -> None:
        """Tell a job of this submission that might still turn up to do nothing."""
        files.write_json(self.folder / "abandoned.json", {"at": time.time()})


class JobRecords:
    """The events of jobs.jsonl, and the submissions that they tell of."""

    def __init__(self, stage: Path | str):
        """Read them; nothing is written. stage: the stage's folder (outputs/RUN/TRACK/STAGE)."""
        self.stage = Path(stage).resolve()
        self.folder = self.stage / "jobs"
        self.path = self.folder / "jobs.jsonl"
        self.token, self.begun_in = "", self.stage
        self.submissions: list[Submission] = []
        self.states: dict[str, dict[str, Any]] = {}  # job id -> its latest state event
        self._log: files.AppendLog | None = None
        for event in self._events():
            self._take(event)

    @classmethod
    @contextmanager
    def open(cls, stage: Path | str) -> Iterator[JobRecords]:
        """Read and write them, under a lock: a second driver is refused."""
        folder = Path(stage).resolve() / "jobs"
        what = "a driver of the jobs of " + "/".join(folder.parts[-4:-1])
        with Lock(folder / ".lock", what), files.AppendLog(folder / "jobs.jsonl") as log:
            records = cls(stage)
            records._log = log
            if not records.token or records._copied():
                records.submissions, records.states = [], {}
                records.note("begun", token=secrets.token_hex(4), folder=str(records.stage))
            yield records

    def note(self, event: str, **more: Any) -> None:
        """Append an event; it is on disk when this returns."""
        row = {"event": event, **more, "at": time.time()}
        self._log.append(row)
        self._log.flush()
        self._take(row)

    def begin(self, chunks: Sequence[int], num_chunks: int, log_folder: Path | None) -> Submission:
        """Write down that these chunks are about to be submitted, under a name that no other job has."""
        there = (self.folder / "submissions").glob("[0-9]*")
        number = 1 + max((int(path.name) for path in there), default=0)
        folder = self._submission_folder(number)
        folder.parent.mkdir(parents=True)  # never there before: two drivers without common locks cannot both pass
        folder.mkdir()
        logs = log_folder or self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.note(
            "submitting",
            submission=number,
            name=f"{self.prefix}-{number:04d}",
            chunks=list(chunks),
            num_chunks=num_chunks,
            logs=str(logs),
        )
        return self.submissions[-1]

    @property
    def prefix(self) -> str:
        """What the names of all jobs of this stage begin with: readable, and this folder's alone."""
        run, track, name = ([""] * 3 + list(self.stage.parts))[-3:]
        return re.sub(r"[^A-Za-z0-9._-]", "_", f"sdg-{run}-{track}-{name}-{self.token}")

    @property
    def names(self) -> list[str]:
        """The names of all jobs that Slurm may have taken; a copy of a run has none, they are the original's."""
        taken = [one.name for one in self.submissions if one.fate in ("submitting", "submitted")]
        return [] if self._copied() else taken

    def submission(self, name: str) -> Submission:
        """The submission with this job name."""
        return next(one for one in self.submissions if one.name == name)

    @contextmanager
    def submitting(self) -> Iterator[int]:
        """A lock to hold while sbatch runs; yields its file descriptor for sbatch to hold as well.

        Waits for an sbatch whose driver was killed. Raises SdgError when that takes longer than sbatch ever does.
        """
        with open(self.folder / ".submitting", "w") as file:
            deadline = time.time() + _SBATCH_S
            while True:
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if time.time() > deadline:
                    raise SdgError(
                        f"{file.name}: an sbatch of another driver holds this lock since {_SBATCH_S} s. "
                        "See `ps` on the machine where it was started, end it, then run again."
                    )
                time.sleep(0.2)
            os.set_inheritable(file.fileno(), True)
            yield file.fileno()

    def _events(self) -> Iterator[dict[str, Any]]:
        if self.path.exists():
            with open(self.path, "rb") as file:
                for number, line in enumerate(file, 1):
                    if line.endswith(b"\n"):  # a torn last line is cut off by the next driver
                        yield files.parse_row(line, self.path, number)

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "begun":
            self.token, self.begun_in = event["token"], Path(event["folder"])
            self.submissions, self.states = [], {}
        elif kind == "submitting":
            number = event["submission"]
            self.submissions.append(
                Submission(
                    number,
                    event["name"],
                    event["chunks"],
                    event["num_chunks"],
                    event["at"],
                    self._submission_folder(number),
                    Path(event["logs"]),
                )
            )
        elif kind == "state":
            self.states[event["job"]] = event
        else:
            one = next(one for one in self.submissions if one.number == event["submission"])
            one.fate, one.job_id = kind, event.get("job")

    def _submission_folder(self, number: int) -> Path:
        """Under the token: what was submitted before the stage was dropped must not find the work of now."""
        return self.folder / "submissions" / f"{number:04d}" / self.token

    def _copied(self) -> bool:
        """Whether this folder is a copy of one that still stands elsewhere: then the jobs are that one's."""
        try:
            return not self.begun_in.samefile(self.stage)
        except OSError:
            return False  # moved, or mounted under another name: the jobs are still ours
