"""Report the combined progress of a stage's jobs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sdg_helpers.budgets.account import is_spent
from sdg_helpers.budgets.budget import read_budget
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.completions.sessions import live_totals, read_sessions
from sdg_helpers.manifests import run_folder_of
from sdg_helpers.stages import Work
from sdg_helpers.watching.job_files import JobFiles
from sdg_helpers.watching.server_lines import lines_of
from sdg_helpers.watching.stage_view import estimate


class JobProgress:
    """Rows done: those on disk at the last look, and what the sessions have counted since."""

    def __init__(self, work: Work, before: int, total: int):
        """before: rows done at the start, of total."""
        self._work, self._total, self._run = work, total, run_folder_of(work.folder)
        self.look(before)
        work.progress(before, total, force=True)

    def look(self, done: int) -> None:
        """Note how many rows are on disk."""
        self._base = done - live_totals(self._sessions())["rows"]  # rows that no session counts

    def report(self, live: list[SlurmJob]) -> None:
        """Write the progress; cancel pending jobs when the run's budget is spent."""
        pending = [job.job_id for job in live if job.state == "PENDING"]
        if pending and (budget := read_budget(self._run)) and is_spent(self._run, budget):
            slurm.cancel(pending)
        sessions = self._sessions()
        totals, states = live_totals(sessions), Counter(job.state for job in live)
        done = min(self._base + totals.pop("rows", 0), self._total)
        servers = lines_of(JobFiles(self._work.folder, live), sessions)
        left_s = estimate(self._work.folder, self._total - done, servers)
        self._work.progress(
            done,
            self._total,
            force=False,
            base=self._base,
            eta_s=left_s and round(left_s, 1),
            **{name: round(value, 2) for name, value in totals.items()},
            slow=[server.number for server in servers if server.slow],
            jobs=", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items())),
        )

    def _sessions(self) -> list[dict[str, Any]]:
        return read_sessions(self._work.folder / "partial")
