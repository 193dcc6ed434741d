"""Compare every file of a run's finished stages with what its manifest records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import same_hash
from sdg_helpers.manifests import earlier_outputs, find_damage, read_manifest, recorded
from sdg_helpers.runs.executed import is_readable_notebook
from sdg_helpers.runs.tracks import STAGES, StageInfo


@dataclass(frozen=True)
class Verified:
    """What was found in one stage, or in an executed notebook. problems: one line each; empty when all is well."""

    name: str
    files: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)


def verify_run(folder: Path) -> Iterator[Verified]:
    """Yield what each begun stage and executed notebook of a run holds. Reads every output of every finished stage."""
    for track, info in begun_stages(folder):
        stage, name = folder / track / info.name, f"{track}/{info.name}"
        try:
            manifest = read_manifest(stage)
        except SdgError as error:
            yield Verified(name, problems=[str(error)])
            continue
        if manifest is None:
            if broken := unreadable_records(stage):
                problems = [f"{path.name} cannot be read; it holds no rows" for path in broken]
                yield Verified(name, len(broken), problems=problems)
            continue
        outputs = manifest.get("outputs") or {}
        problems = [f"{one.name} {one.what}" for one in find_damage(stage, manifest, by_hash=True)]
        problems += [
            f"was made from another {one}: `sdg reset {folder.name} {name}`" for one in outdated_inputs(stage, manifest)
        ]
        yield Verified(name, len(outputs), sum(one.get("bytes", 0) for one in outputs.values()), problems)
    for path in unreadable_notebooks(folder):
        yield Verified(path.relative_to(folder).as_posix(), 1, 0, ["cannot be read; it is executed again"])


def begun_stages(folder: Path) -> list[tuple[str, StageInfo]]:
    """Return (track, stage) of every stage that has a folder, in order."""
    return [(track, info) for track, infos in STAGES.items() for info in infos if (folder / track / info.name).is_dir()]


def unreadable_records(stage: Path) -> list[Path]:
    """Return the records of an unfinished stage that are no JSON objects: they hold settings and counts, not rows."""
    paths = [stage / "begun.json", stage / "progress.json", *sorted((stage / "partial").glob("session-*.json"))]
    return [path for path in paths if path.exists() and not _is_object(path)]


def _is_object(path: Path) -> bool:
    try:
        return isinstance(files.read_json(path), dict)
    except (SdgError, OSError):
        return False


def unreadable_notebooks(folder: Path) -> list[Path]:
    """Return the executed copies that are no notebooks, and the records beside them that cannot be read."""
    copies = sorted((folder / "notebooks").glob("*/*.ipynb"))
    broken = [path for path in copies if not is_readable_notebook(path)]
    return broken + [path for path in sorted((folder / "notebooks").glob("*/*.json")) if not _is_object(path)]


def outdated_inputs(stage: Path, record: Mapping[str, Any]) -> list[str]:
    """Return the names of the files that a stage has read and that their own stages have written differently since.

    record: the stage's manifest, or its begun.json. Files that have only grown are not among them.
    """
    found = []
    for known in (record.get("inputs") or {}).values():
        path = Path(os.path.normpath(stage / known["path"]))
        with suppress(SdgError):  # an unreadable manifest, which is that stage's own problem
            if _is_outdated(path, known):
                found.append(path.name)
    return sorted(found)


def _is_outdated(path: Path, known: Mapping[str, Any]) -> bool:
    now = recorded(path)
    if now is None or same_hash(now, known) is not False:
        return False
    return not any(same_hash(state.get(path.name, {}), known) for state in earlier_outputs(path))
