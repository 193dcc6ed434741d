"""A stage's work cut into chunks, each a job of its own; the driver shows the sum of what their sessions tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from sdg_helpers.cluster.driver import run_chunks
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm import SlurmJob
from sdg_helpers.completions.sessions import standing
from sdg_helpers.stages import Work


def chunk_range(count: int, chunk: int, num_chunks: int) -> range:
    """The places of a chunk: contiguous, so that a problem's samples stay together; sizes differ by one at most."""
    return range(chunk * count // num_chunks, (chunk + 1) * count // num_chunks)


def run_in_jobs(
    work: Work,
    function: Callable[[int, int], Any],
    jobs: JobSpec,
    left: Callable[[int], Mapping[int, int]],
    before: int,
    total: int,
) -> None:
    """Run a stage's chunks as jobs, and show how many of its rows are done.

    left(num_chunks): chunk -> rows that are left to do; it looks at what is on disk. before: rows done when we begin,
    of total.
    """
    sessions = work.folder / "partial"
    known = {"done": before, "rows": standing(sessions)["rows"]}

    def look(num_chunks: int) -> list[int]:
        missing = left(num_chunks)
        known.update(done=total - sum(missing.values()), rows=standing(sessions)["rows"])
        return list(missing)

    def on_poll(live: list[SlurmJob]) -> None:
        """Rows that were on disk at the last look, and those that the sessions have finished since."""
        now, states = standing(sessions), Counter(job.state for job in live)
        done = known["done"] + now.pop("rows", 0) - known["rows"]
        work.progress(
            min(done, total),
            total,
            **{name: round(value, 2) for name, value in now.items()},
            jobs=", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items())),
        )

    work.progress(before, total, force=True)
    run_chunks(function, jobs, work.folder, look, on_poll)
