"""Work for the tests' jobs: each chunk writes rows to a separate file and resumes where it stopped."""

import os
import signal
import time
from functools import partial
from pathlib import Path

from sdg_helpers.cluster import ranks

ROWS = 12


def rows_of(folder: Path) -> list[int]:
    """Return all rows that any job has written."""
    return sorted(int(line) for path in Path(folder).glob("rows-*") for line in path.read_text().split())


def left(folder: Path, num_chunks: int) -> list[int]:
    """Return the chunks with missing rows."""
    done = set(rows_of(folder))
    return [chunk for chunk in range(num_chunks) if not set(range(chunk, ROWS, num_chunks)) <= done]


def write_rows(folder: Path, chunk: int, num_chunks: int, row_s: float = 0.0, trouble: str = "") -> None:
    """Write the missing rows of a chunk. trouble: what happens after the chunk's first row, once or on every attempt
    ("… always"); "… in 0" happens only in chunk 0. "dies on n1": at
    once, on this node."""
    ranks.idle_unless_first()
    if trouble.startswith("dies on ") and os.environ["SLURMD_NODENAME"] == trouble.removeprefix("dies on "):
        os.kill(os.getpid(), signal.SIGKILL)
    done, path = set(rows_of(folder)), Path(folder) / f"rows-{os.environ['SLURM_JOB_ID']}-{chunk}-{time.time_ns()}"
    with open(path, "a") as out:
        for row in range(chunk, ROWS, num_chunks):
            if row in done:
                continue
            time.sleep(row_s)
            out.write(f"{row}\n")
            out.flush()
            _meet(folder, chunk, trouble)


def _meet(folder: Path, chunk: int, trouble: str) -> None:
    mark = Path(folder) / f"met-{chunk}"
    trouble, _, only = trouble.partition(" in ")
    if only and int(only) != chunk:
        return
    if trouble and (trouble.endswith(" always") or not mark.exists()):
        mark.touch()
        if trouble == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif trouble == "raises":
            raise ValueError("no such luck")
        elif trouble.startswith("bad input"):
            from sdg_helpers.errors import SdgError

            raise SdgError("expected better input, found this. Mend it.")


def work(folder: Path, **more):
    """Return the function for run_jobs."""
    return partial(write_rows, Path(folder), **more)
