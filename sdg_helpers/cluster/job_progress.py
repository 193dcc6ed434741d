"""Report the combined progress of a stage's jobs."""

from __future__ import annotations

from collections import Counter

from sdg_helpers.budgets.account import is_spent
from sdg_helpers.budgets.budget import read_budget
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.completions.sessions import live_totals
from sdg_helpers.manifests import run_folder_of
from sdg_helpers.stages import Work


class JobProgress:
    """Rows done: those on disk at the last look, and what the sessions have counted since."""

    def __init__(self, work: Work, before: int, total: int):
        """before: rows done at the start, of total."""
        self._work, self._total, self._run = work, total, run_folder_of(work.folder)
        self.look(before)
        work.progress(before, total, force=True)

    def look(self, done: int) -> None:
        """Note how many rows are on disk."""
        self._done, self._counted = done, self._totals()["rows"]

    def report(self, live: list[SlurmJob]) -> None:
        """Write the progress; cancel pending jobs when the run's budget is spent."""
        pending = [job.job_id for job in live if job.state == "PENDING"]
        if pending and (budget := read_budget(self._run)) and is_spent(self._run, budget):
            slurm.cancel(pending)
        totals, states = self._totals(), Counter(job.state for job in live)
        done = self._done + totals.pop("rows", 0) - self._counted
        self._work.progress(
            min(done, self._total),
            self._total,
            force=False,
            **{name: round(value, 2) for name, value in totals.items()},
            jobs=", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items())),
        )

    def _totals(self) -> Counter[str]:
        return live_totals(self._work.folder / "partial")
