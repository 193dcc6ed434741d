"""What runs on a node: one chunk of a stage's work, on every rank of its job:
`python -m sdg_helpers.cluster.worker FOLDER`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.exit_codes import CRASHED, RAISED, RETURNED, TERMINATED, TIME_LIMIT, JobStopped, TryAgain
from sdg_helpers.errors import SdgError

_UNWIND_S = 20  # what the work has for its last words once it is told to stop
_ending: list[tuple[str, int]] = []  # why, and with which status, when another rank ended first
_FILES_S = 60  # what a shared file system may take to show a node what the driver wrote


def main(folder: Path) -> int:
    """Run one rank of one job of a Slurm array; returns the exit status that its script understands."""
    import submitit

    job = submitit.JobEnvironment()
    os.environ["SDG_OWNER_PID"] = str(os.getpid())  # servers started here end with us
    restart = int(os.environ.get("SLURM_RESTART_COUNT", 0))
    attempt = Attempt(folder, int(job.array_task_id), job.job_id, restart, job.global_rank)
    try:
        _stop_on_signals(first=job.global_rank == 0)
        work = _load(folder)
        if work is None:
            return RETURNED
        with ranks.join(folder / "ranks" / f"{job.job_id}-{restart}", job.global_rank, job.num_tasks) as group:
            group.listen(_end_with_the_others)
            code = attempt.run(*work)
            group.end(code)
        return code
    except JobStopped as stop:
        return stop.code
    except SdgError as error:
        return attempt.failed(error)


class Attempt:
    """One try at a chunk by one rank; what it says of itself stands in attempts/."""

    def __init__(self, folder: Path, chunk: int, job_id: str, restart: int = 0, rank: int = 0):
        """folder: the submission's."""
        self.chunk = chunk
        self.path = folder.parents[2] / "attempts" / f"{chunk:04d}-{job_id}-{restart}-rank{rank}.json"
        self.told = {
            "chunk": chunk,
            "job": job_id,
            "restart": restart,
            "rank": rank,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began_at": time.time(),
        }

    def run(self, function: Callable[[int, int], Any], num_chunks: int) -> int:
        """Call the function; returns the exit status. What it raises is printed, and kept in the attempt's file."""
        self._write(state="at work", num_chunks=num_chunks)
        try:
            returned = function(self.chunk, num_chunks)
        except JobStopped as stop:
            self._write(state="stopped", why=stop.why)
            return stop.code
        except BaseException as error:
            return self.failed(error)
        self._write(state="returned", returned=_plain(returned))
        return RETURNED

    def failed(self, error: BaseException) -> int:
        """Print and keep what was raised; returns the exit status."""
        traceback.print_exc()
        ours = isinstance(error, SdgError)
        self._write(state="raised", error=f"{'' if ours else f'{type(error).__name__}: '}{error}")
        return RAISED if ours and not isinstance(error, TryAgain) else CRASHED

    def _write(self, **more: Any) -> None:
        """Replace the attempt's file. A shared disk that is full must not hide what the work itself has to say."""
        self.told.update(more, at=time.time())
        try:
            files.write_json(self.path, self.told)
        except SdgError as error:
            print(error, file=sys.stderr, flush=True)


def _load(folder: Path) -> tuple[Callable[[int, int], Any], int] | None:
    """(function, num_chunks) of a submission; None when nobody waits for it any more."""
    from submitit.core.utils import pickle_load

    end = time.time() + _FILES_S
    while not (folder / "work.pkl").exists():
        if time.time() > end:
            raise SdgError(
                f"{folder}/work.pkl: expected the work of this job, found none on {socket.gethostname()}. "
                "Is the run's folder on a file system that this node shares with the login node?"
            )
        time.sleep(0.5)
    if (folder / "abandoned.json").exists():
        print("This submission was given up before it became known to Slurm; others do its work.", flush=True)
        return None
    return pickle_load(folder / "work.pkl")


def _stop_on_signals(first: bool) -> None:
    """Slurm warns before the time limit by SIGUSR2 and ends a job by SIGTERM. Ranks other than the first heed only
    the latter: the first one tells them."""

    def stop(number: int, frame: Any) -> None:
        for one in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        if _ending:
            why, code = _ending[0]
        elif number == signal.SIGUSR2:
            why, code = "its time limit is near", TIME_LIMIT
        else:
            why, code = "Slurm told it to end", TERMINATED
        print(f"Stopping: {why}.", flush=True)
        end_for_sure(code)
        raise JobStopped(why, code)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR2, stop if first else signal.SIG_IGN)


def _end_with_the_others(why: str, code: int) -> None:
    """Another rank ended: stop the main thread, wherever it is."""
    _ending.append((why, code))
    os.kill(os.getpid(), signal.SIGTERM)


def end_for_sure(code: int, after_s: float = _UNWIND_S) -> None:
    """End this process after a while, whatever it hangs in; nothing that is on disk can be lost by that."""

    def end() -> None:
        time.sleep(after_s)
        os._exit(code)

    threading.Thread(target=end, daemon=True).start()


def _plain(value: Any) -> Any:
    """What a function returned, if it can stand in a JSON file; else None."""
    with suppress(TypeError, ValueError):
        return json.loads(json.dumps(value))
    return None


if __name__ == "__main__":
    from sdg_helpers.cluster import worker

    status = worker.main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread of the work that hangs must not keep 16 GPUs
