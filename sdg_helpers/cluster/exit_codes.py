"""How a job can end: the exit codes that its batch script reads, and the exceptions behind them."""

from __future__ import annotations

from sdg_helpers.errors import SdgError

RETURNED = 0
RAISED = 1  # an error that a retry cannot fix; also Python's own exit code when it cannot start
TIME_LIMIT = 75  # requeue the job: it resumes where it stopped
CRASHED = 76  # a server or a node died: requeue the job, a limited number of times
TERMINATED = 143  # by Slurm: cancelled or preempted


class JobStopped(KeyboardInterrupt):
    """The job has to end now. Raised in the main thread, like Ctrl-C; `code` is the exit code."""

    def __init__(self, why: str, code: int):
        super().__init__(why)
        self.why, self.code = why, code


class TryAgain(SdgError):
    """A server or a node died: the job ends so that Slurm starts it again."""
