"""How the work of a job can end: exit statuses, which its batch script reads, and the exceptions behind them."""

from __future__ import annotations

from sdg_helpers.errors import SdgError

RETURNED = 0
RAISED = 1  # an error that another try does not mend; Python's own status when it cannot start
TIME_LIMIT = 75  # go on where this one stopped
CRASHED = 76  # something under the work died: try again, a few times
TERMINATED = 143  # by Slurm: cancelled, or preempted


class JobStopped(KeyboardInterrupt):
    """The job is told to end: raised in the work's main thread as Ctrl-C would be. `code`: the exit status."""

    def __init__(self, why: str, code: int):
        super().__init__(why)
        self.why, self.code = why, code


class TryAgain(SdgError):
    """Something under the work died (a server, a node): the job ends so that Slurm starts it anew."""
