"""Set damaged stages back to unfinished: intact rows are kept, so that running on makes only the others again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files, growth
from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import read_hashes, row_hash
from sdg_helpers.locks import Lock
from sdg_helpers.manifests import ROW_HASHES, SEED_FILES, Damage, find_damage, read_manifest
from sdg_helpers.runs import reset, verify
from sdg_helpers.runs.tracks import STAGES, StageInfo

_RESUMED = (
    SEED_FILES,
    "comparisons.jsonl",
    "checks.jsonl",
)  # their rows cost a model or a sandbox: a stage adds to them
_SET_ASIDE = "set-aside"  # where repair puts seed files that the stage did not write, or of which no hash was kept


@dataclass(frozen=True)
class SetBack:
    """A stage that has to be finished again. damages: what was wrong; kept, lost: rows of files that are resumed."""

    track: str
    info: StageInfo
    damages: list[Damage]
    kept: int
    lost: int


def set_back_damaged(folder: Path) -> Iterator[SetBack]:
    """Verify every file of a run; set each damaged stage back to unfinished, and yield it.

    Of files that cost a model, the rows that are certainly intact are kept: those whose hash was recorded. The other
    damaged files are deleted: their stage computes them again. Records without rows that cannot be read are deleted
    too. Raises SdgError while a stage is at work or has live jobs.
    """
    for track, info in verify.begun_stages(folder):
        stage = folder / track / info.name
        with Lock(stage / ".lock", f"stage {track}/{info.name} of {folder.name}"):
            reset.refuse_live_jobs(folder, track, [info])
            for path in verify.unreadable_records(stage):
                path.unlink()
            try:
                manifest = read_manifest(stage)
            except SdgError:
                yield _without_manifest(stage, track, info)
                continue
            if manifest is not None and (damages := find_damage(stage, manifest, by_hash=True)):
                kept, lost = _set_back(stage, manifest, damages)
                yield SetBack(track, info, damages, kept, lost)


def _set_back(stage: Path, manifest: Mapping[str, Any], damages: list[Damage]) -> tuple[int, int]:
    """Remove what is damaged, then turn the manifest into begun.json; return how many rows were kept and lost.

    In this order: a repair that is killed leaves a stage that is still damaged, never one that resumes from bad rows.
    """
    kept = lost = 0
    for damage in damages:
        path, known = stage / damage.name, (manifest.get("outputs") or {}).get(damage.name)
        if known is None:
            _set_aside(path)
        elif any(path.match(pattern) for pattern in _RESUMED):
            rows = _keep_intact_rows(path)
            kept, lost = kept + rows, lost + max(0, known.get("rows", 0) - rows)
        else:
            path.unlink(missing_ok=True)
    growth.save_usage(stage, manifest.get("requests") or {})
    begun = {key: manifest[key] for key in ("stage", "parameters", "inputs", "growth") if key in manifest}
    files.write_json(stage / "begun.json", {**begun, "begun_at": manifest.get("finished_at")})
    (stage / "manifest.json").unlink()
    return kept, lost


def _without_manifest(stage: Path, track: str, info: StageInfo) -> SetBack:
    """Set a stage back whose manifest cannot be read: nothing but the rows' hashes says what is intact."""
    kept = sum(_keep_intact_rows(path) for pattern in _RESUMED for path in sorted(stage.glob(pattern)))
    (stage / "manifest.json").unlink()
    return SetBack(track, info, [Damage("manifest.json", "cannot be read")], kept, 0)


def _keep_intact_rows(path: Path) -> int:
    """Keep the rows of a file whose hash was recorded, in their order and as often as then; return their number.

    Without recorded hashes (before version 0.2) nobody can say which rows are intact, and the file is set aside.
    """
    try:
        hashes = read_hashes((path.parent / ROW_HASHES / f"{path.name}.xxh3").read_bytes())
    except FileNotFoundError:
        if path.exists():
            _set_aside(path)
        return 0
    expected, kept = Counter(hashes), 0
    if path.exists():
        with open(path, "rb", buffering=1 << 20) as source, files.atomic_writer(path) as out:
            for line in source:
                key = row_hash(line)
                if expected[key] > 0:
                    expected[key] -= 1
                    out.write(line)
                    kept += 1
    return kept


def _set_aside(path: Path) -> None:
    """Move a file out of the way of its stage; it may have cost a model, so it is not deleted."""
    folder = path.parent / _SET_ASIDE
    folder.mkdir(exist_ok=True)
    os.replace(path, folder / path.name)


def drop_outdated(folder: Path, track: str, infos: list[StageInfo]) -> list[str]:
    """Reset those of these stages that were made from files which are different now; return their names.

    Verdicts are kept, as `sdg reset` does. A stage of solutions is left alone: it refuses to run, and says why.
    """
    dropped = []
    for info in infos:
        stage = folder / track / info.name
        record = read_manifest(stage) or files.read_json(stage / "begun.json") or {}
        has_solutions = any(stage.glob(SEED_FILES)) or any((stage / "partial").glob("rs*"))
        if not has_solutions and verify.outdated_inputs(stage, record):
            reset.reset_stages(folder, track, [info])
            dropped.append(f"{track}/{info.name}")
    return dropped


def notebooks_to_run(folder: Path, found: list[SetBack]) -> list[str]:
    """Return the keys of the notebooks to execute: those of the repaired stages and the begun ones after them, and
    those whose executed copy cannot be read."""
    keys: list[str] = []
    for track, infos in STAGES.items():
        repaired = [infos.index(one.info) for one in found if one.track == track]
        later = infos[min(repaired) :] if repaired else ()
        begun = [info for info in later if (folder / track / info.name).is_dir()]
        keys += [info.notebook for info in begun]
    for path in verify.unreadable_notebooks(folder):
        keys.append(f"{path.parent.name}/{path.name.partition('.')[0]}")
        if path.suffix == ".json" or ".failed" in path.name:
            with suppress(FileNotFoundError):
                path.unlink()
    return list(dict.fromkeys(keys))
