"""Split a stage's work into chunks, one Slurm job each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sdg_helpers.budgets.account import check_left
from sdg_helpers.cluster.driver import run_chunks
from sdg_helpers.cluster.job_progress import JobProgress
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.submitting import JobFunction
from sdg_helpers.manifests import run_folder_of
from sdg_helpers.stages import Work


def run_in_jobs(
    work: Work,
    function: JobFunction,
    jobs: JobSpec,
    rows_left: Callable[[int], Mapping[int, int]],
    before: int,
    total: int,
) -> None:
    """Run a stage's chunks as jobs and report the stage's progress in rows.

    rows_left(num_chunks): chunk -> rows still to do, read from disk. before: rows done at the start, of total. Jobs see
    by themselves when the run's budget is spent, and end; BudgetSpent is raised when they have.
    """
    progress = JobProgress(work, before, total)

    def unfinished_chunks(num_chunks: int) -> list[int]:
        left = rows_left(num_chunks)
        progress.look(total - sum(left.values()))
        if left:
            check_left(run_folder_of(work.folder))
        return list(left)

    run_chunks(function, jobs, work.folder, unfinished_chunks, progress.report)
