"""Drop a stage's results, and the results of every stage that was made from them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from sdg_helpers import cluster
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.locks import Lock
from sdg_helpers.runs.tracks import STAGES, StageInfo

KEPT = "comparisons.jsonl"  # verdicts are keyed by content, judge and rules: judging again reuses those that still hold


def downstream(track: str, stage: str) -> list[StageInfo]:
    """Return a stage and every stage that is made from it, in order."""
    dropped: list[StageInfo] = []
    for info in STAGES[track]:
        if info.name == stage or {one.name for one in dropped} & set(info.needs):
            dropped.append(info)
    return dropped


def find_stage(text: str, folder: Path) -> tuple[str, StageInfo]:
    """Return (track, stage) for "math/solutions", or for "solutions" where only one begun track of the run has it.

    Raises SdgError for an unknown stage, and for a name that several tracks have.
    """
    known = {f"{track}/{info.name}": (track, info) for track, infos in STAGES.items() for info in infos}
    begun = [key for key in known if (folder / known[key][0]).is_dir()]
    found = [text] if text in known else [key for key in begun if key.split("/")[1] == text]
    if not found:
        raise SdgError(
            f"unknown stage {text!r}.{did_you_mean(text, begun or known)} Stages: {', '.join(begun or known)}."
        )
    if len(found) > 1:
        raise SdgError(f"stage {text!r}: several tracks have it: {', '.join(found)}. Give one of these.")
    return known[found[0]]


def reset_stages(folder: Path, track: str, infos: list[StageInfo]) -> None:
    """Delete these stages' results, manifests first. Raises SdgError, deleting nothing, while one of them runs."""
    with ExitStack() as locks:
        for info in infos:
            if (stage := folder / track / info.name).is_dir():
                locks.enter_context(Lock(stage / ".lock", f"stage {track}/{info.name} of {folder.name}"))
        refuse_live_jobs(folder, track, infos)
        for info in reversed(infos):
            if (stage := folder / track / info.name).is_dir():
                (stage / "manifest.json").unlink(missing_ok=True)
                _remove_all_but(stage, KEPT)
            (folder / "notebooks" / f"{info.notebook}.json").unlink(missing_ok=True)


def _remove_all_but(stage: Path, kept: str) -> None:
    """Remove a stage's folder, except for the file of paid results that stay valid."""
    if not (stage / kept).exists():
        shutil.rmtree(stage)
        return
    for path in stage.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (kept, ".lock"):
            path.unlink()


def refuse_live_jobs(folder: Path, track: str, infos: list[StageInfo]) -> None:
    """Raise SdgError while Slurm has jobs of these stages.

    Jobs outlive their driver and would write old rows into the new results. Slurm is asked only where a stage has
    submitted jobs.
    """
    live = [
        f"{job.job_id} of {track}/{info.name} ({job.state.lower()})"
        for info in infos
        for path in sorted((folder / track / info.name).rglob("jobs/jobs.jsonl"))  # a stage may hold stages of its own
        for job in _live_jobs(path.parent.parent)
    ]
    if live:
        more = f" and {len(live) - 5} more" if len(live) > 5 else ""
        raise SdgError(
            f"run {folder.name}: jobs of the stages to drop are still live: {', '.join(live[:5])}{more}. Nothing was "
            f"dropped. Cancel them with `sdg cancel {folder.name}`; when they have ended, reset again."
        )


def _live_jobs(stage: Path) -> list[cluster.SlurmJob]:
    try:
        return cluster.live_jobs(stage)
    except SdgError as error:
        raise SdgError(
            f"{stage}: this stage ran as Slurm jobs, and Slurm cannot be asked whether they have ended:\n"
            f"  {error}\nNothing was dropped. Reset on a machine where Slurm answers. If you know that no job is "
            f"left, delete {stage / 'jobs'}, then reset again."
        ) from None


def megabytes(folder: Path) -> float:
    """Return the size of a folder's files in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
