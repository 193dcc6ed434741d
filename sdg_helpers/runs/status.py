"""A run's status, read from its folder: how far each stage is, and what it is doing."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdg_helpers import files, growth, runs
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration, format_number, progress_text
from sdg_helpers.locks import Lock
from sdg_helpers.manifests import find_damage, read_manifest, run_folder_of
from sdg_helpers.runs import history
from sdg_helpers.runs.executed import read_record

_STALE_S = 120  # without a report for this long, a worker on another machine counts as gone


@dataclass(frozen=True)
class StageStatus:
    """The status of one stage.

    state: complete, at work, partial, failed, damaged, unreadable or not begun. detail: the same in more words, for
    people.
    """

    track: str
    stage: str
    notebook: str
    state: str
    detail: str
    counts: dict[str, Any] = field(default_factory=dict)


def run_status(folder: Path) -> list[StageStatus]:
    """Return the status of every stage of the run's begun tracks; of the math track when it has begun none."""
    begun = [
        track for track in runs.STAGES if (folder / track).is_dir() or (folder / "notebooks" / track).is_dir()
    ] or ["math"]
    return [_status_or_reason(folder, track, info) for track in begun for info in runs.STAGES[track]]


def _status_or_reason(folder: Path, track: str, info: runs.StageInfo) -> StageStatus:
    try:
        return stage_status(folder, track, info)
    except Exception as error:  # whatever is wrong with the files of one stage, the others are shown
        detail = " ".join(str(error if isinstance(error, (SdgError, OSError)) else repr(error)).split())
        return StageStatus(track, info.name, info.notebook, "unreadable", detail)


def stage_status(folder: Path, track: str, info: runs.StageInfo) -> StageStatus:
    """Return one stage's status, from its manifest, its progress file and the record of its notebook."""
    stage = folder / track / info.name
    record = read_record(folder / "notebooks" / f"{info.notebook}.json")
    manifest = read_manifest(stage)
    if manifest is not None:
        state, detail, counts = _complete(stage, manifest, record)
    elif not (stage / "begun.json").exists():
        state, detail, counts = "not begun", f"notebook {info.notebook}", {}
        if record.get("state") == "failed":
            state, detail = "failed", _failure_reason(record)
    else:
        state, detail, counts = _begun(stage, record)
    return StageStatus(track, info.name, info.notebook, state, detail, counts)


def _complete(stage: Path, manifest: dict[str, Any], record: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    counts = manifest["counts"]
    detail = rows_text(counts)
    if counts["dropped"]:
        detail += f" (dropped: {', '.join(f'{count} {reason}' for reason, count in counts['dropped'].items())})"
    if manifest.get("seconds"):
        detail += f", {format_duration(manifest['seconds'])}"
    if grown := growth.describe(manifest.get("growth", []), manifest.get("parameters", {})):
        detail += f", {grown}"
    if wrong := manifest.get("expected_wrong"):
        rows = wrong["rows"] if isinstance(wrong, dict) else wrong
        detail += f", about {format_number(rows)} expected wrong"
    if damages := find_damage(stage, manifest):
        what = "; ".join(f"{one.name} {one.what}" for one in damages)
        return "damaged", f"{what}; repair it with `sdg repair {run_folder_of(stage).name}`", counts
    if record.get("state") == "failed":
        detail += f"; its notebook failed later: {_failure_reason(record)}"
    return "complete", detail, counts


def _begun(stage: Path, record: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    progress = files.read_json(stage / "progress.json") or {}
    if jobs := jobs_text(stage):
        progress |= _now(stage)
    detail = progress_text({**progress, "jobs": jobs}) if progress else "started, no rows yet"
    if at_work(stage, progress) or jobs:
        return "at work", detail, progress
    detail = re.sub(r"  ETA \S+", "", detail)
    if record.get("state") == "failed":
        return "failed", f"{detail}; {_failure_reason(record)}", progress
    return "partial", f"{detail}; stopped; run again to resume", progress


def _now(stage: Path) -> dict[str, Any]:
    """Return the progress of a stage with live jobs, which go on when their driver does not."""
    from sdg_helpers.watching.stage_view import view_stage

    view = view_stage(stage)
    slow = [server.number for server in view.servers if server.slow]
    return {"done": view.done, "tokens_per_s": view.tokens_per_s, "eta_s": view.eta_s, "slow": slow}


def _failure_reason(record: dict[str, Any]) -> str:
    """Return the first line of a failed notebook's error."""
    lines = str(record.get("error", "")).splitlines() or ["no reason recorded"]
    return lines[0]


def at_work(stage: Path, progress: dict[str, Any]) -> bool:
    """Whether a process is working on the stage: it holds the lock, or it reported recently from another machine.

    Some shared file systems show locks only on the machine that holds them.
    """
    path = stage / ".lock"
    if not path.exists():
        return False
    if not Lock.is_free(path):
        return True
    elsewhere = not path.read_text().endswith(f" on {socket.gethostname()}\n")
    return elsewhere and time.time() - progress.get("updated_at", 0) < _STALE_S


def jobs_text(stage: Path) -> str:
    """Return the stage's live jobs, such as "3 running, 1 pending"; "" when it has none."""
    if not (stage / "jobs" / "jobs.jsonl").exists():
        return ""
    from sdg_helpers import cluster

    try:
        states = Counter(job.state.lower() for job in cluster.live_jobs(stage))
    except SdgError:
        return "Slurm does not answer"
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def rows_text(counts: dict[str, Any]) -> str:
    """Return rows out of rows in, such as "96/96 rows"."""
    return f"{counts['rows_out']:,}/{counts['rows_in']:,} rows"


def runs_table() -> list[dict[str, Any]]:
    """Return one row a run: run, profile, begun_at, complete ("3/11 stages", or "complete" once its data is exported)
    and now, the first unfinished stage.

    A run that cannot be read has the reason in its row, so that the others are still shown.
    """
    rows = []
    for name in runs.all_runs():
        try:
            rows.append(_table_row(name))
        except (SdgError, OSError) as error:
            rows.append(
                {
                    "run": name,
                    "profile": "",
                    "begun_at": "",
                    "complete": "",
                    "now": f"unreadable: {' '.join(str(error).split())}",
                }
            )
    return rows


def _table_row(name: str) -> dict[str, Any]:
    folder = runs.run_folder(name)
    content, stages = history.read(folder) or {}, run_status(folder)
    done = [stage for stage in stages if stage.state == "complete"]
    unfinished = [stage for stage in stages if stage.state not in ("complete", "not begun")]
    first = next(iter(unfinished), None)
    now = f"{first.track}/{first.stage} {first.state}: {first.detail}" if first else ""
    complete = f"{len(done)}/{len(stages)} stages"
    if not first and any(stage.stage == "sft" for stage in done):
        complete = "complete"
        left = dict.fromkeys(stage.notebook for stage in stages if stage.state == "not begun")
        now = f"not begun: {', '.join(left)}" if left else ""
    return {
        "run": name,
        "profile": content.get("profile", ""),
        "begun_at": content.get("begun_at", ""),
        "complete": complete,
        "now": now,
    }
