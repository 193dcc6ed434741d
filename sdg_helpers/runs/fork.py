"""Fork a run: begin another one from its finished stages, without copying what is heavy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import yaml

from sdg_helpers import files
from sdg_helpers.audit import labels, verdicts
from sdg_helpers.errors import SdgError
from sdg_helpers.manifests import check_outputs, read_manifest
from sdg_helpers.runs import history
from sdg_helpers.runs.reset import KEPT
from sdg_helpers.runs.tracks import STAGES, StageInfo

_NOT_FORKED = (".lock", "progress.json", "begun.json", "partial", "jobs", "set-aside")
_DECISIONS = (labels.FILE, verdicts.FILE)
_APPENDED = ("comparisons.jsonl", "checks.jsonl", *_DECISIONS)  # are added to in place, so that they cannot be shared


@dataclass
class Fork:
    """What a new run took over. stages: names; shared, copied: bytes in hard links and in copies."""

    stages: list[str]
    shared: int = 0
    copied: int = 0


def fork_run(origin: Path, new: Path, track: str, first: str) -> Fork:
    """Begin the run `new` with the stages of `origin` that belong to a track's notebooks before `first` ("05").

    Their files become hard links, which takes no space: stages replace files and never change them. Files to which
    a stage adds are copied, also a person's decisions. Of the later stages only the stores of verdicts are taken, so
    that nothing is asked twice. Raises SdgError when the new run exists, or when a stage before `first` is unfinished
    or damaged.
    """
    if new.exists():
        raise SdgError(f"run {new.name!r} exists already: {new}. Choose another name for the new run.")
    before = [info for info in STAGES[track] if _number(info) < first and (origin / track / info.name).is_dir()]
    _require_finished(origin, track, before)
    fork = Fork([info.name for info in before])
    for info in STAGES[track]:
        folder = origin / track / info.name
        found = _files(folder) if info in before else [path for path in (folder / KEPT,) if path.exists()]
        for path in found:
            _take(path, new / path.relative_to(origin), fork)
    for name in _DECISIONS:
        if (path := origin / name).exists():
            _take(path, new / name, fork)
    _write_history(origin, new, f"{track}/{first}")
    return fork


def _number(info: StageInfo) -> str:
    """The number of a stage's notebook, such as "05"."""
    return info.notebook.rpartition("/")[2][:2]


def _require_finished(origin: Path, track: str, before: list[StageInfo]) -> None:
    for info in before:
        manifest = read_manifest(origin / track / info.name)
        if manifest is None:
            raise SdgError(
                f"{origin / track / info.name}: this stage is unfinished, and a fork takes only finished ones. Finish "
                f"it with `sdg run {track} --run {origin.name}`, or fork from an earlier notebook (--from)."
            )
        check_outputs(origin / track / info.name, manifest)
    if not before:
        raise SdgError(f"run {origin.name!r} has no stage of {track} before that notebook: nothing to fork from.")


def _files(stage: Path) -> Iterator[Path]:
    for path in sorted(stage.rglob("*")):
        if path.is_file() and path.relative_to(stage).parts[0] not in _NOT_FORKED:
            yield path


def _take(path: Path, target: Path, fork: Fork) -> None:
    """Link a file into the new run; copy it if it may be added to, or if the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = path.stat().st_size
    if path.name not in _APPENDED:
        try:
            os.link(path, target)
        except OSError:
            pass
        else:
            fork.shared += size
            return
    shutil.copy2(path, target)
    fork.copied += size


def _write_history(origin: Path, new: Path, first: str) -> None:
    """Write run.yaml last: without it, the new run does not exist."""
    known = history.read(origin) or {}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = {
        "run": new.name,
        "profile": known["profile"],
        "begun_at": now,
        "forked_from": {"run": origin.name, "begun_at": known["begun_at"], "from": first},
        "sessions": known["sessions"][-1:],
    }
    with files.atomic_writer(new / "run.yaml") as out:
        out.write(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
