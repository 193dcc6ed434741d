"""Sessions of a stage: every uninterrupted run of requests saves its counts and times.

Their sum is what the stage used, however often it was interrupted and in however many jobs it ran.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster import this_job
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.timeline import Timeline, merge
from sdg_helpers.errors import SdgError

_SAVE_EVERY_S = 2  # a killed session loses at most this much of its counts
_STALE_S = 120  # a session not updated for this long does not count towards the current rates
_COUNTS = ("done", "failed", "retried", "pushed_back", "prompt_tokens", "completion_tokens", "elapsed_s")
_LATENCIES = ("latency_p50_s", "latency_p90_s", "latency_p99_s")
_KEPT = ("attempt", "host", "began_at", "updated_at", "rows", *_COUNTS, *_LATENCIES, "requests_per_s", "tokens_per_s")
_CONTINUED = ("continued", "kept_tokens")
_CURRENT = ("in_flight", "tokens_per_s", "requests_per_s")


class Session:
    """One uninterrupted run of requests, in this process or a job, saved to its own file in `folder`."""

    def __init__(self, folder: Path, more: Callable[[], Mapping[str, Any]] = dict):
        """more: returns further fields to save."""
        job, self._more = this_job.slurm_id(), more
        self._path = folder / f"session-{job or os.getpid()}-{time.time_ns()}.json"
        self._saved_at, self._timeline = 0.0, Timeline()
        self._who = {
            "attempt": this_job.attempt_name() if job else "",
            "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
            "began_at": time.time(),
        }

    def save(self, progress: Progress, rows: int, force: bool = False) -> None:
        """Save the session's state, at most every two seconds unless forced or nothing is in flight.

        rows: how many it has finished.
        """
        now = time.time()
        if force or not progress.in_flight or now - self._saved_at >= _SAVE_EVERY_S:
            self._saved_at = now
            self._timeline.add(now, progress.in_flight, progress.completion_tokens, last=force)
            counts = {"rows": rows, "updated_at": now, **asdict(progress), "points": self._timeline.points}
            files.write_json(self._path, {**self._who, **counts, **self._more()})


def progress_fields(progress: Progress) -> dict[str, Any]:
    """Return what a stage's progress line shows besides done and total."""
    note = {"note": progress.note} if progress.note else {}
    return {"failed": progress.failed, **{name: round(getattr(progress, name), 2) for name in _CURRENT}, **note}


def live_totals(sessions: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Sum over all sessions: rows and failed; over those at work also in_flight, tokens_per_s, requests_per_s."""
    totals: Counter[str] = Counter()
    for session in sessions:
        names = ("rows", "failed", *(_CURRENT if is_at_work(session) else ()))
        totals.update({name: session[name] for name in names})
    return totals


def is_at_work(session: Mapping[str, Any]) -> bool:
    """Return whether a session has requests in flight, as far as its file tells."""
    return bool(session["in_flight"]) and time.time() - session["updated_at"] < _STALE_S


def keep_history(folder: Path, history: Path) -> None:
    """Add the sessions in `folder`, which is about to be removed, to a file of one line a session."""
    known = {row["session"] for row in files.read_log(history)}
    new = [(path.stem, _read(path)) for path in sorted(folder.glob("session-*.json")) if path.stem not in known]
    rows = [{"session": name, **{key: one[key] for key in _KEPT if key in one}} for name, one in new if "host" in one]
    if rows:
        with files.AppendLog(history) as log:
            for row in sorted(rows, key=lambda row: row["began_at"]):
                log.append(row)


def total_usage(folder: Path) -> dict[str, Any]:
    """Return what all sessions used, for a manifest; {} when there are none. Empty sessions do not count.

    servers: completions, failed attempts and times left out by server, if there are several. thinking: completions by
    the form in which the server sent their thinking. continued, kept_tokens: completions that continue what an earlier
    attempt had written, and the tokens of that, if there are any. not_continued: why replies that were cut were
    not continued, if they were to be. timeline: tokens per second and requests in flight over time.
    elapsed_s is the sum over the sessions, so the rates are those of one server; a latency is the mean of the sessions'
    latencies, weighted by their completions.
    """
    sessions = [one for one in read_sessions(folder) if one["done"] or one["failed"]]
    if not sessions:
        return {}
    sums = {name: sum(one[name] for one in sessions) for name in _COUNTS}
    done, elapsed = max(1, sums["done"]), max(1e-9, sums["elapsed_s"])
    return {
        "sessions": len(sessions),
        **sums,
        "requests_per_s": sums["done"] / elapsed,
        "tokens_per_s": sums["completion_tokens"] / elapsed,
        **{name: sum(one[name] * one["done"] for one in sessions) / done for name in _LATENCIES},
        **({"servers": servers} if (servers := _by_server(sessions)) else {}),
        **{name: count for name in _CONTINUED if (count := sum(one.get(name, 0) for one in sessions))},
        **({"not_continued": reasons} if (reasons := _reasons_not_to_continue(sessions)) else {}),
        "thinking": sum((Counter(one.get("thinking", {})) for one in sessions), Counter()),
        "timeline": merge(one.get("points", ()) for one in sessions),
    }


def timeline(folder: Path) -> dict[str, Any]:
    """Return what a stage's sessions have done so far over time (see timeline.merge)."""
    return merge(one.get("points", ()) for one in read_sessions(folder))


def _by_server(sessions: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Sum the counts of each of several servers over the sessions."""
    sums: dict[str, Counter[str]] = {}
    for session in sessions:
        for url, counts in session.get("servers", {}).items():
            sums.setdefault(url, Counter()).update(counts)
    return sums


def _reasons_not_to_continue(sessions: list[dict[str, Any]]) -> list[str]:
    """Return the different reasons of the sessions."""
    return sorted({str(one["not_continued"]) for one in sessions if one.get("not_continued")})


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """Return the record of every session in a stage's folder partial/, the oldest of a job first."""
    return [_read(path) for path in sorted(folder.glob("session-*.json"))]


def _read(path: Path) -> dict[str, Any]:
    session = files.read_json(path)
    needed = ("rows", "updated_at", *_COUNTS, *_LATENCIES, *_CURRENT)
    if not isinstance(session, dict) or not all(isinstance(session.get(name), int | float) for name in needed):
        raise SdgError(
            f"{path}: not the record of a session. It holds counts for the manifest, and no rows: delete it (as "
            "`sdg repair RUN` does), then run again."
        )
    return session
