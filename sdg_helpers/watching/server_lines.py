"""One line a server of a stage: where it runs, what it does, how fast it is, what it holds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sdg_helpers.completions.sessions import is_at_work
from sdg_helpers.watching.estimates import Worker, own_time_left
from sdg_helpers.watching.job_files import JobFiles, SglangState

_NORMAL = statistics.NormalDist()
_SLOW = 0.5  # of the median of its neighbours' rates
_IDLE_S = 5.0  # without sending a request: it may only lack work
_RATE_S = 60.0  # after (re)starting, before what was counted gives a rate
_BEGUN = 0.35  # of the requests in flight: what is done of them, less what was done when counting began
_FEWEST = 3  # servers at work, before one of them can be called slow


@dataclass(frozen=True)
class ServerLine:
    """What is known about one server now.

    number: of its job, None for a session outside Slurm. state: pending, starting, loading, restarting, at work,
    draining, silent (it has not reported for two minutes), ended or failed; why: the reason, if there is one. blocks,
    open_rows: what it holds, and the requests of that which have not ended. rows: written in all its sessions.
    tail_s: what its longest take; idle_s: how long it has sent none.
    running, queued, cache_hit: of SGLang itself. restarts: of its jobs and of SGLang in the present one. load_s: from
    SGLang's start to its first right answer. eta_s: until it has done what it holds.
    """

    number: int | None
    job: str = ""
    node: str = ""
    state: str = ""
    why: str = ""
    blocks: int | None = None
    open_rows: int | None = None
    rows: int = 0
    in_flight: int = 0
    rows_per_s: float = 0.0
    tokens_per_s: float = 0.0
    latency_p50_s: float = 0.0
    tail_s: float = 0.0
    idle_s: float = 0.0
    running: float | None = None
    queued: float | None = None
    cache_hit: float | None = None
    restarts: int = 0
    load_s: float | None = None
    loading_for_s: float = 0.0
    eta_s: float | None = None
    slow: bool = False

    @property
    def worker(self) -> Worker:
        """Its speed, for estimates."""
        loading = self.state in ("loading", "restarting")
        return Worker(
            self.rows_per_s,
            self.in_flight,
            max(0, (self.open_rows or 0) - self.in_flight),
            self.tail_s,
            self.idle_s,
            self.loading_for_s if loading else None,
        )


def lines_of(jobs: JobFiles, sessions: Sequence[Mapping[str, Any]]) -> list[ServerLine]:
    """Return a line for each of a stage's servers: its jobs by number, then its sessions at work outside Slurm."""
    by_attempt: dict[str, list[Mapping[str, Any]]] = {}
    for session in sessions:
        by_attempt.setdefault(session.get("attempt", ""), []).append(session)
    local = [_of_session(ServerLine(None, node=one["host"]), one) for one in by_attempt.get("", []) if _is_local(one)]
    lines = [*(_of_job(jobs, number, by_attempt) for number in jobs.numbers()), *local]
    return _mark_slow(_with_tails(lines, max(sessions, key=lambda one: one["done"], default=None)))


def _is_local(session: Mapping[str, Any]) -> bool:
    return "host" in session and is_at_work(session)


def _of_job(jobs: JobFiles, number: int, by_attempt: Mapping[str, list[Mapping[str, Any]]]) -> ServerLine:
    job = jobs.job(number)
    attempts = jobs.attempts(number)
    rows = sum(one["rows"] for attempt in attempts for one in by_attempt.get(attempt, []))
    line = ServerLine(number, job.job_id, job.nodes, rows=rows, restarts=max(0, len(attempts) - 1))
    if job.ended:
        failed = job.state != "COMPLETED"
        return replace(line, state="failed" if failed else "ended", why=job.state if failed else "")
    if job.state != "RUNNING":
        return replace(line, state=job.state.lower(), why=job.reason)
    attempt = jobs.attempt_of(job)
    if attempt is None:
        return replace(line, state="starting")
    sglang = jobs.sglang(attempt)
    line = replace(
        line,
        restarts=line.restarts + sglang.restarts,
        load_s=sglang.load_s,
        loading_for_s=sglang.loading_for_s,
        running=sglang.load.get("running"),
        queued=sglang.load.get("queued"),
        cache_hit=sglang.load.get("cache_hit"),
    )
    session = max(by_attempt.get(attempt.name, []), key=lambda one: one["began_at"], default=None)
    if session is not None:
        line = _of_session(line, session, sglang.up_for_s)
    return replace(line, **_state(jobs, line, sglang, session))


def _of_session(line: ServerLine, session: Mapping[str, Any], up_for_s: float = 1e9) -> ServerLine:
    rows_per_s, tokens_per_s = _rates(session, up_for_s) if is_at_work(session) else (0.0, 0.0)
    line = replace(
        line,
        state="at work",
        rows=line.rows or session["rows"],
        blocks=session.get("blocks"),
        open_rows=session.get("open_rows"),
        in_flight=session["in_flight"],
        rows_per_s=rows_per_s,
        tokens_per_s=tokens_per_s,
        latency_p50_s=session["latency_p50_s"],
        idle_s=session.get("idle_s", 0.0),
        why=session.get("trouble", ""),
    )
    return line


def _rates(session: Mapping[str, Any], up_for_s: float) -> tuple[float, float]:
    """Return rows and tokens per second.

    As counted of late; but a server that came up again since has what is in flight over what a request takes, and a
    new one is credited with the requests that it is in the middle of.
    """
    settled_s, elapsed_s = max(_RATE_S, 4 * session["latency_p50_s"]), session["elapsed_s"]
    mean_s, done = session.get("latency_mean_s", 0.0), session["done"]
    if not mean_s or (elapsed_s >= settled_s and up_for_s >= settled_s):
        return session["recent_requests_per_s"], session["recent_tokens_per_s"]
    if up_for_s < min(settled_s, elapsed_s - 1):
        rows_per_s = session["in_flight"] / mean_s
    else:
        rows_per_s = (done + _BEGUN * session["in_flight"]) / elapsed_s
    return rows_per_s, rows_per_s * session["completion_tokens"] / done


def _state(jobs: JobFiles, line: ServerLine, sglang: SglangState, session: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the state of a running job's server, and what follows from it."""
    if sglang.state:
        return {"state": sglang.state, "why": sglang.why, "rows_per_s": 0.0, "tokens_per_s": 0.0, "eta_s": None}
    if jobs.is_draining(line.job):
        return {"state": "draining"}
    if session is None:
        return {"state": "starting"}
    if session["in_flight"] and not is_at_work(session):
        return {"state": "silent", "eta_s": None}
    return {"state": "at work"}


def _with_tails(lines: list[ServerLine], longest: Mapping[str, Any] | None) -> list[ServerLine]:
    """Add what the longest requests of each server take, and so when it has done what it holds.

    longest: the session that has done most. All have the same work, so that of a server that is new, and has only done
    short requests, spreads in the same way.
    """
    tails = [_tail_s(line.latency_p50_s, line.in_flight, longest) for line in lines]
    lines = [replace(line, tail_s=tail_s) for line, tail_s in zip(lines, tails, strict=True)]
    return [replace(line, eta_s=own_time_left(line.worker) if line.rows_per_s else None) for line in lines]


def _tail_s(p50_s: float, in_flight: int, like: Mapping[str, Any] | None) -> float:
    """Return what the longest of so many requests takes, if lengths spread as in the session `like`."""
    if like is None or not like["latency_p50_s"]:
        return p50_s
    spread = math.log(max(1.0, like["latency_p90_s"] / like["latency_p50_s"])) / _NORMAL.inv_cdf(0.9)
    longest = math.exp(spread * _NORMAL.inv_cdf(1 - 0.5 / (in_flight + 1)))  # of a log-normal distribution …
    return p50_s * min(longest, like["latency_p99_s"] / like["latency_p50_s"])  # … that may be cut


def _mark_slow(lines: list[ServerLine]) -> list[ServerLine]:
    """Mark the servers that are busy and yet generate less than half as fast as the median one."""
    busy = [
        line for line in lines if line.state in ("at work", "draining") and line.idle_s < max(line.latency_p50_s, 5)
    ]
    speeds = {id(line): line.tokens_per_s or line.rows_per_s for line in busy}
    if len(busy) < _FEWEST:
        return lines
    median = statistics.median(speeds.values())
    return [replace(line, slow=speeds.get(id(line), median) < _SLOW * median) for line in lines]
