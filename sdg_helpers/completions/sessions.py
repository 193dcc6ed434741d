"""Sessions of a stage: every stretch of requests keeps on disk what it did and took. Their sum is what the stage took,
however often it was stopped, and in however many jobs it ran."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.completions.meter import Progress

_EVERY_S = 2  # so much of a session's count is lost when it is killed
_STALE_S = 120  # a session that has noted nothing for so long adds nothing to the rates
_COUNTED = ("done", "failed", "retried", "pushed_back", "prompt_tokens", "completion_tokens", "elapsed_s")
_LATENCIES = ("latency_p50_s", "latency_p90_s", "latency_p99_s")
_NOW = ("in_flight", "tokens_per_s", "requests_per_s")


class Session:
    """One stretch of requests, here or in a job, with a file of its own in `folder`."""

    def __init__(self, folder: Path):
        self._path = folder / f"session-{os.environ.get('SLURM_JOB_ID', os.getpid())}-{time.time_ns()}.json"
        self._noted = 0.0

    def note(self, progress: Progress, rows: int, force: bool = False) -> None:
        """Keep where the session stands, at most every two seconds unless forced. rows: that it has finished."""
        now = time.time()
        if force or now - self._noted >= _EVERY_S:
            self._noted = now
            files.write_json(self._path, {"rows": rows, "updated_at": now, **asdict(progress)})


def shown(progress: Progress) -> dict[str, Any]:
    """What a stage's progress line says beside done and total."""
    return {"failed": progress.failed, **{name: round(getattr(progress, name), 2) for name in _NOW}}


def standing(folder: Path) -> Counter:
    """Sums over all sessions: rows and failed of all; in_flight, tokens_per_s, requests_per_s of those at work now."""
    found: Counter = Counter()
    for told in _all(folder):
        fresh = time.time() - told["updated_at"] < _STALE_S
        found.update({name: told[name] for name in ("rows", "failed", *(_NOW if fresh else ()))})
    return found


def took(folder: Path) -> dict[str, Any]:
    """What all sessions that brought anything took, for a manifest; {} when none did.

    elapsed_s is the sum over their servers, and the rates are those of one of them; a latency is the mean of the
    sessions' own, weighted by their completions.
    """
    told = [one for one in _all(folder) if one["done"] or one["failed"]]
    if not told:
        return {}
    sums = {name: sum(one[name] for one in told) for name in _COUNTED}
    done, elapsed = max(1, sums["done"]), max(1e-9, sums["elapsed_s"])
    return {
        "sessions": len(told),
        **sums,
        "requests_per_s": sums["done"] / elapsed,
        "tokens_per_s": sums["completion_tokens"] / elapsed,
        **{name: sum(one[name] * one["done"] for one in told) / done for name in _LATENCIES},
    }


def _all(folder: Path) -> list[dict[str, Any]]:
    return [told for path in sorted(folder.glob("session-*.json")) if (told := files.read_json(path))]
