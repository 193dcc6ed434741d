"""What runs on every node of a job: a part of a stage's work (`python -m sdg_helpers.cluster.worker FOLDER`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from sdg_helpers import files
from sdg_helpers.cluster import preflight, ranks, this_job
from sdg_helpers.cluster.exit_codes import CRASHED, RAISED, RETURNED, TERMINATED, TIME_LIMIT, JobStopped, TryAgain
from sdg_helpers.cluster.job_records import jobs_folder_of
from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    from sdg_helpers.cluster.submitting import JobFunction

_UNWIND_S = 20  # how long the work may take to stop
_SHARED_FILES_S = 60  # how long a shared file system may take to show a node what the driver wrote
_other_rank_ended: list[tuple[str, int]] = []  # why, and the exit code to end with


def main(folder: Path) -> int:
    """Run one rank of one job of a Slurm array; return the exit code for its batch script. folder: the submission's."""
    import submitit

    job = submitit.JobEnvironment()
    os.environ["SDG_OWNER_PID"] = str(os.getpid())  # servers that the work starts end with this process
    restart = int(os.environ.get("SLURM_RESTART_COUNT", 0))
    attempt = Attempt(folder, int(job.array_task_id or 0), this_job.job_name(), restart, job.global_rank)
    try:
        _stop_on_signals(first_rank=job.global_rank == 0)
        work = _load_work(folder)
        if work is None:
            return RETURNED
        with ranks.join(folder / "ranks" / this_job.attempt_name(), job.global_rank, job.num_tasks) as group:
            group.listen(_stop_with_other_rank)
            code = attempt.run(*work)
            if code == RETURNED and this_job.drains():
                code = TIME_LIMIT  # what is left goes on after a requeue
            group.end(code, attempt.error)
        return code
    except JobStopped as stop:
        return stop.code
    except SdgError as error:
        return attempt.record_error(error)


class Attempt:
    """One rank's attempt at a job's work, and its report in attempts/."""

    def __init__(self, folder: Path, number: int, job_id: str, restart: int = 0, rank: int = 0):
        """folder: the submission's."""
        self.number, self.folder = number, folder
        self.path = jobs_folder_of(folder) / "attempts" / f"{number:04d}-{job_id}-{restart}-rank{rank}.json"
        self.report: dict[str, Any] = {
            "chunk": number,
            "job": job_id,
            "slurm_id": this_job.slurm_id(),  # of a task of an array, too
            "restart": restart,
            "rank": rank,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began_at": time.time(),
        }

    @property
    def error(self) -> str:
        """The first line of what was raised; "" when nothing was."""
        return str(self.report.get("error", "")).partition("\n")[0]

    def run(self, function: JobFunction, count: int) -> int:
        """Check this node, call the function, and return the exit code. An exception is printed, and recorded in the
        report."""
        self._write(state="at work", num_chunks=count)
        try:
            preflight.check_this_node(self.folder)
            result = function(self.number, count)
        except JobStopped as stop:
            self._write(state="stopped", why=stop.why)
            return stop.code
        except BaseException as error:
            return self.record_error(error)
        self._write(state="returned", returned=_as_json(result))
        return RETURNED

    def record_error(self, error: BaseException) -> int:
        """Print an exception and record it; return the exit code."""
        traceback.print_exc()
        expected = isinstance(error, SdgError)
        if isinstance(error, preflight.UnfitNode):
            self.report["unfit_node"] = preflight.node_name()
        self._write(state="raised", error=str(error) if expected else f"{type(error).__name__}: {error}")
        return RAISED if expected and not isinstance(error, TryAgain) else CRASHED

    def _write(self, **fields: Any) -> None:
        """Replace the report. A full disk must not hide the work's own error, so a failed write is only printed."""
        self.report.update(fields, at=time.time())
        try:
            files.write_json(self.path, self.report)
        except SdgError as error:
            print(error, file=sys.stderr, flush=True)


def _load_work(folder: Path) -> tuple[JobFunction, int] | None:
    """Return a submission's function and the count of jobs; None when the submission was abandoned.

    Raises SdgError when the file does not appear on this node.
    """
    from submitit.core.utils import pickle_load

    deadline = time.time() + _SHARED_FILES_S
    while not (folder / "work.pkl").exists():
        if time.time() > deadline:
            raise SdgError(
                f"{folder}/work.pkl does not exist on {socket.gethostname()}, so this job does not know its work. "
                "Is the run's folder on a file system that this node shares with the login node?"
            )
        time.sleep(0.5)
    if (folder / "abandoned.json").exists():
        print("This submission was abandoned before Slurm confirmed it; other jobs do its work.", flush=True)
        return None
    _check_private(folder)
    return pickle_load(folder / "work.pkl")


def _check_private(folder: Path) -> None:
    """Raise SdgError when somebody else can replace this submission's work: loading it runs whatever is in it."""
    for path in (folder, folder / "work.pkl"):
        status = path.stat()
        if status.st_mode & 0o022 or status.st_uid not in (os.geteuid(), 0):
            raise SdgError(
                f"{path} can be changed by others than its owner and you (mode {status.st_mode & 0o777:o}, owner "
                f"{status.st_uid}), and a job runs what is in it. Check who may write to the run's folder; if nobody "
                f"else changed it, run `chmod go-w {folder} {folder}/work.pkl` and start the run again."
            )


def _stop_on_signals(first_rank: bool) -> None:
    """Raise JobStopped in the main thread on Slurm's signals: SIGUSR2 before the time limit, SIGTERM to end.

    Work that can stop by itself is asked to first, and has as long as the time limit allows. Other ranks than the first
    ignore SIGUSR2: they end when the first rank does.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR2 and (left_s := this_job.seconds_to_drain()) > 0 and this_job.begin_drain():
            print(f"The time limit is near: taking no more work, and finishing it for {left_s:.0f} s.", flush=True)
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, left_s)
            return
        for handled in (signal.SIGUSR2, signal.SIGALRM, signal.SIGTERM):
            signal.signal(handled, signal.SIG_IGN)
        if _other_rank_ended:
            why, code = _other_rank_ended[0]
        elif number in (signal.SIGUSR2, signal.SIGALRM):
            why, code = "the time limit is near", TIME_LIMIT
        else:
            why, code = "Slurm terminated the job", TERMINATED
        print(f"Stopping: {why}.", flush=True)
        exit_after(_UNWIND_S, code)
        raise JobStopped(why, code)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR2, stop if first_rank else signal.SIG_IGN)


def _stop_with_other_rank(why: str, code: int) -> None:
    """Stop the main thread, whatever it is doing, because another rank ended."""
    _other_rank_ended.append((why, code))
    os.kill(os.getpid(), signal.SIGTERM)


def exit_after(delay_s: float, code: int) -> None:
    """Exit this process after a delay even if it hangs; what is on disk by then is safe."""

    def end() -> None:
        time.sleep(delay_s)
        os._exit(code)

    threading.Thread(target=end, daemon=True).start()


def _as_json(value: Any) -> Any:
    """Return a function's result as JSON gives it back, or None when it cannot be JSON."""
    with suppress(TypeError, ValueError):
        return json.loads(json.dumps(value))
    return None


if __name__ == "__main__":
    from sdg_helpers.cluster import worker

    status = worker.main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a hanging thread of the work must not keep 16 GPUs
