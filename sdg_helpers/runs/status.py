"""How far a run is, read from its folder: complete, at work, partial, failed or not begun, stage by stage."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdg_helpers import files, runs
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration, format_number
from sdg_helpers.locks import Lock
from sdg_helpers.runs import history

_STALE_S = 120  # a worker on another machine that has not reported for so long is taken for gone


@dataclass(frozen=True)
class StageStatus:
    """One stage: `state` is complete, at work, partial, failed, changed or not begun; `detail` says it in words."""

    track: str
    stage: str
    notebook: str
    state: str
    detail: str
    counts: dict[str, Any] = field(default_factory=dict)


def run_status(folder: Path) -> list[StageStatus]:
    """Every stage of the tracks that this run has begun; of the math track when it has begun none."""
    begun = [
        track for track in runs.STAGES if (folder / track).is_dir() or (folder / "notebooks" / track).is_dir()
    ] or ["math"]
    return [stage_status(folder, track, info) for track in begun for info in runs.STAGES[track]]


def stage_status(folder: Path, track: str, info: runs.StageInfo) -> StageStatus:
    """One stage, from its manifest, its progress file and the record of its notebook."""
    stage = folder / track / info.name
    record = files.read_json(folder / "notebooks" / f"{info.notebook}.json") or {}
    manifest = _manifest(stage)
    if manifest is not None:
        state, detail, counts = _complete(stage, manifest, record)
    elif not (stage / "begun.json").exists():
        state, detail, counts = "not begun", f"notebook {info.notebook}", {}
        if record.get("state") == "failed":
            state, detail = "failed", _why(record)
    else:
        state, detail, counts = _begun(stage, record)
    return StageStatus(track, info.name, info.notebook, state, detail, counts)


def _manifest(stage: Path) -> dict[str, Any] | None:
    path = stage / "manifest.json"
    manifest = files.read_json(path)
    counts = manifest.get("counts") if isinstance(manifest, dict) else None
    if manifest is not None and not (isinstance(counts, dict) and {"rows_in", "rows_out", "dropped"} <= counts.keys()):
        raise SdgError(
            f"{path}: expected a manifest with the counts rows_in, rows_out and dropped, found another "
            "content. Restore the file, or drop the stage with `sdg reset`."
        )
    return manifest


def _complete(stage: Path, manifest: dict[str, Any], record: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    counts = manifest["counts"]
    detail = rows_text(counts)
    if counts["dropped"]:
        detail += f" (dropped: {', '.join(f'{count} {reason}' for reason, count in counts['dropped'].items())})"
    if manifest.get("seconds"):
        detail += f", {format_duration(manifest['seconds'])}"
    if missing := changed_files(stage, manifest.get("outputs", {})):
        return "changed", f"{', '.join(missing)}: not as the stage left it; `sdg reset` makes it anew", counts
    if record.get("state") == "failed":
        detail += f"; its notebook stopped later: {_why(record)}"
    return "complete", detail, counts


def _begun(stage: Path, record: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    progress = files.read_json(stage / "progress.json") or {}
    jobs = jobs_text(stage)
    detail = progress_text({**progress, "jobs": jobs}) if progress else "begun, nothing counted yet"
    if at_work(stage, progress) or jobs:
        return "at work", detail, progress
    detail = re.sub(r"  ETA \S+", "", detail)
    if record.get("state") == "failed":
        return "failed", f"{detail}; {_why(record)}", progress
    return "partial", f"{detail}; stopped, run again to go on", progress


def _why(record: dict[str, Any]) -> str:
    lines = str(record.get("error", "")).splitlines() or ["no reason recorded"]
    return lines[0]


def changed_files(stage: Path, known: dict[str, dict[str, Any]]) -> list[str]:
    """Names of the files that are gone or have another size than the manifest says."""
    gone = []
    for name, fingerprint in known.items():
        path = stage / name
        if not path.exists() or path.stat().st_size != fingerprint["bytes"]:
            gone.append(name)
    return gone


def at_work(stage: Path, progress: dict[str, Any]) -> bool:
    """Whether a process works on the stage: it holds the lock, or reported lately from another machine (where the
    file system keeps locks to one machine)."""
    path = stage / ".lock"
    if not path.exists():
        return False
    if not Lock.is_free(path):
        return True
    elsewhere = not path.read_text().endswith(f" on {socket.gethostname()}\n")
    return elsewhere and time.time() - progress.get("updated_at", 0) < _STALE_S


def jobs_text(stage: Path) -> str:
    """ "3 running, 1 pending": the stage's jobs that Slurm still has to do with; "" where there are none."""
    if not (stage / "jobs" / "jobs.jsonl").exists():
        return ""
    from sdg_helpers import cluster

    try:
        states = Counter(job.state.lower() for job in cluster.live_jobs(stage))
    except SdgError:
        return "Slurm does not answer"
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def rows_text(counts: dict[str, Any]) -> str:
    """ "96/96 rows": rows out of rows in."""
    return f"{counts['rows_out']:,}/{counts['rows_in']:,} rows"


def progress_text(progress: dict[str, Any]) -> str:
    """ "40/96 rows  42 %  31 tok/s  ETA 1m27s  2 failed", from what a stage reports."""
    done, total = progress.get("done", 0), progress.get("total")
    parts = [f"{done:,}/{total:,} rows" if total else f"{done:,} rows"]
    if total:
        parts.append(f"{done / total:.0%}")
    if progress.get("tokens_per_s"):
        parts.append(f"{progress['tokens_per_s']:,.0f} tok/s")
    rate = progress.get("requests_per_s") or progress.get("rows_per_s")
    if rate and not progress.get("tokens_per_s"):
        parts.append(f"{format_number(rate)} rows/s")
    if rate and total and done < total:
        parts.append(f"ETA {format_duration((total - done) / rate)}")
    if progress.get("failed"):
        parts.append(f"{progress['failed']:,} failed")
    if progress.get("jobs"):
        parts.append(f"jobs: {progress['jobs']}")
    return "  ".join(parts)


def runs_table() -> list[dict[str, Any]]:
    """One row a run: name, profile, when it began, how many stages are complete, the latest that is not. A run that
    cannot be read has its reason in its row: the others are shown all the same."""
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
    told, stages = history.read(folder), run_status(folder)
    begun = [one for one in stages if one.state not in ("complete", "not begun")]
    return {
        "run": name,
        "profile": told["profile"],
        "begun_at": told["begun_at"],
        "complete": f"{sum(one.state == 'complete' for one in stages)}/{len(stages)} stages",
        "now": f"{begun[0].track}/{begun[0].stage} {begun[0].state}: {begun[0].detail}" if begun else "",
    }
