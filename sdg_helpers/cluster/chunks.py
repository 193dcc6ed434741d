"""A stage's work cut into chunks: how a chunk's job reports, and how the driver sums up what they tell."""
from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import files
from ..stages import Work
from . import run_chunks
from .jobs import JobSpec
from .slurm import SlurmJob

_SUMMED = ("done", "failed", "in_flight", "tokens_per_s", "requests_per_s")
_STALE_S = 120  # a chunk that has not reported for so long adds nothing to the rates


def chunk_range(count: int, chunk: int, num_chunks: int) -> range:
    """The places of a chunk: contiguous, so that a problem's samples stay together; sizes differ by one at most."""
    return range(chunk * count // num_chunks, (chunk + 1) * count // num_chunks)


class ChunkReport:
    """What stands in for stages.Work inside a job: `folder`, and `progress` into a file of the chunk's own."""

    def __init__(self, folder: Path, chunk: int):
        self.folder, self._path, self._reported = folder, folder / "partial" / f"progress-{chunk:04d}.json", 0.0

    def progress(self, done: int, total: int | None, force: bool = False, **more: Any) -> None:
        """Replace the chunk's progress file, at most every two seconds unless forced."""
        now = time.time()
        if force or now - self._reported >= 2:
            self._reported = now
            files.write_json(self._path, {"done": done, "total": total, "updated_at": now, **more})


def note_took(folder: Path, chunk: int, took: dict[str, Any]) -> None:
    """Keep what a chunk's job measured, for the manifest."""
    name = f"took-{chunk:04d}-{os.environ.get('SLURM_JOB_ID', os.getpid())}-{time.time_ns()}.json"
    files.write_json(folder / "partial" / name, took)


def run_in_jobs(work: Work, function: Callable[[int, int], Any], jobs: JobSpec, left: Callable[[int], list[int]],
                before: int, total: int) -> dict[str, Any]:
    """Run a stage's chunks as jobs, showing their sum as the stage's progress; returns the sum of what they measured.

    before: rows done when we begin, of total.
    """
    partial = work.folder / "partial"
    for path in partial.glob("progress-*.json"):
        path.unlink(missing_ok=True)

    def on_poll(live: list[SlurmJob]) -> None:
        told = _sum(partial)
        states = Counter(job.state for job in live)
        work.progress(before + int(told.pop("done", 0)), total, **told,
                      jobs=", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items())))

    work.progress(before, total, force=True)
    run_chunks(function, jobs, work.folder, left, on_poll)
    took: Counter = Counter()
    for path in partial.glob("took-*.json"):
        took.update({name: value for name, value in (files.read_json(path) or {}).items()
                     if isinstance(value, int | float) and name not in ("limit", "waiting", "in_flight")})
    return dict(took)


def _sum(partial: Path) -> dict[str, float]:
    found: Counter = Counter()
    for path in partial.glob("progress-*.json"):
        told = files.read_json(path) or {}
        fresh = time.time() - told.get("updated_at", 0) < _STALE_S
        found.update({name: told[name] for name in _SUMMED if name in told and (fresh or name in ("done", "failed"))})
    return {name: round(value, 2) for name, value in found.items()}
