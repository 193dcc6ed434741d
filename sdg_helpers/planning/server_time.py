"""How long each stage held model servers, from its sessions and, on Slurm, from what its jobs reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.completions.sessions import read_sessions
from sdg_helpers.errors import SdgError

# The server that each stage asks; in science, the one that writes and compares questions is the judge's by default.
SERVER_ROLES = {
    "solutions": "solver",
    "genselect_solutions": "solver",
    **dict.fromkeys(("rounds", "judged", "rejudged", "expanded", "written", "inspired", "compared"), "judge"),
}


def server_hours(stage: Path) -> float:
    """Return for how many hours a stage has held a model server, one server after the other; also of unfinished stages.

    In a Slurm job, that is the time from its start to its last report, loading included; elsewhere, the time with
    requests in flight, because the server may serve something else before and after.
    """
    sessions = _sessions(stage)
    last_seen: dict[str, float] = {}
    for one in sessions:
        last_seen[one.get("attempt", "")] = max(last_seen.get(one.get("attempt", ""), 0.0), one["updated_at"])
    seconds, of_jobs = 0.0, set[str]()
    for report in _reports(stage):
        attempt = f"{report['job']}-{report['restart']}"
        of_jobs.add(attempt)
        seconds += max(0.0, max(report["at"], last_seen.get(attempt, 0.0)) - report["began_at"])
    seconds += sum(one["elapsed_s"] for one in sessions if one.get("attempt", "") not in of_jobs)
    return seconds / 3600


def _sessions(stage: Path) -> list[dict[str, Any]]:
    """Return every session of a stage once, also when it is both kept and still in partial/."""
    found = [*files.read_log(stage / "sessions.jsonl"), *read_sessions(stage / "partial")]
    return list({(one.get("host"), one.get("began_at"), one["updated_at"]): one for one in found}.values())


def _reports(stage: Path) -> Iterator[dict[str, Any]]:
    """Yield what the first rank of each attempt at a job reported last; skips damaged reports."""
    for path in sorted((stage / "jobs" / "attempts").glob("*-rank0.json")):
        with suppress(SdgError):
            report = files.read_json(path)
            if isinstance(report, dict) and report.keys() >= {"job", "restart", "began_at", "at"}:
                yield report
