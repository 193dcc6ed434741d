"""Split a stage's work into chunks, one Slurm job each, and report their combined progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from sdg_helpers.budgets.account import check_left, is_spent
from sdg_helpers.budgets.budget import read_budget
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.driver import run_chunks
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.cluster.submitting import ChunkFunction
from sdg_helpers.completions.sessions import live_totals
from sdg_helpers.manifests import run_folder_of
from sdg_helpers.stages import Work


def chunk_range(count: int, chunk: int, num_chunks: int) -> range:
    """Return the indices of a chunk, of `count` in total.

    They are contiguous, so that a problem's samples stay together; chunk sizes differ by at most one.
    """
    return range(chunk * count // num_chunks, (chunk + 1) * count // num_chunks)


def run_in_jobs(
    work: Work,
    function: ChunkFunction,
    jobs: JobSpec,
    rows_left: Callable[[int], Mapping[int, int]],
    before: int,
    total: int,
) -> None:
    """Run a stage's chunks as jobs and report the stage's progress in rows.

    rows_left(num_chunks): chunk -> rows still to do, read from disk. before: rows done at the start, of total. Jobs see
    by themselves when the run's budget is spent, and end; BudgetSpent is raised when they have.
    """
    sessions, run = work.folder / "partial", run_folder_of(work.folder)
    # rows on disk at the last look, and rows that sessions had counted then
    known = {"done": before, "rows": live_totals(sessions)["rows"]}

    def unfinished_chunks(num_chunks: int) -> list[int]:
        left = rows_left(num_chunks)
        known.update(done=total - sum(left.values()), rows=live_totals(sessions)["rows"])
        if left:
            check_left(run)
        return list(left)

    def on_poll(live: list[SlurmJob]) -> None:
        pending = [job.job_id for job in live if job.state == "PENDING"]
        if pending and (budget := read_budget(run)) and is_spent(run, budget):
            slurm.cancel(pending)
        totals, states = live_totals(sessions), Counter(job.state for job in live)
        done = known["done"] + totals.pop("rows", 0) - known["rows"]
        work.progress(
            min(done, total),
            total,
            force=False,
            **{name: round(value, 2) for name, value in totals.items()},
            jobs=", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items())),
        )

    work.progress(before, total, force=True)
    run_chunks(function, jobs, work.folder, unfinished_chunks, on_poll)
