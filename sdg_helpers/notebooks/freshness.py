"""Decide whether an executed notebook is up to date: same cells, parameters, servers and files, same data as then."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from sdg_helpers import __version__, paths, prompts
from sdg_helpers.manifests import read_manifest
from sdg_helpers.notebooks.discovery import Notebook
from sdg_helpers.runs.executed import is_readable_notebook, read_record
from sdg_helpers.runs.run import Run
from sdg_helpers.runs.tracks import STAGES


def dependencies(run: Run, notebook: Notebook, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that a notebook's result depends on, except the stages before it, as plain JSON values."""
    values = {**{name: parameter.value for name, parameter in notebook.parameters.items()}, **given}
    named = [
        path
        for text in _strings(values.values())
        for path in (prompts.prompt_path(text), paths.resolve_path(text))
        if os.path.isfile(path)
    ]
    found = {
        "source": notebook.digest(),
        "version": __version__,
        "parameters": dict(given),
        "servers": [[spec.served_model, spec.model_dump()] for spec in run.profile.specs],
        "files": {str(path): _size_and_mtime(path) for path in named},
    }
    return orjson.loads(orjson.dumps(found, default=str))


def is_up_to_date(run: Run, notebook: Notebook, dependencies: Mapping[str, Any], record: Path) -> bool:
    """Return whether an earlier session executed exactly this, and its data is unchanged since then.

    record: the JSON file beside the executed copy.
    """
    known = read_record(record)
    if known.get("state") != "complete" or not is_readable_notebook(record.with_suffix(".ipynb")):
        return False
    now = manifest_digests(run, notebook.track)
    return (
        all(known.get(key) == value for key, value in dependencies.items())
        and all(now.get(stage) == digest for stage, digest in known.get("stages", {}).items())
        and all(is_stage_unchanged(run.folder / notebook.track / info.name) for info in notebook.stages)
    )


def manifest_digests(run: Run, track: str) -> dict[str, str]:
    """Return the digest of each manifest in a track, by the name of its stage."""
    manifests = [run.folder / track / info.name / "manifest.json" for info in STAGES.get(track, ())]
    return {path.parent.name: _digest(path) for path in manifests if path.exists()}


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def is_stage_unchanged(stage: Path) -> bool:
    """Return whether a stage is not half done and its files have the sizes and times that its manifest records.

    Where this is False, executing the notebook makes the stage compare contents and report what changed.
    """
    manifest = read_manifest(stage)
    if manifest is None:
        return not (stage / "begun.json").exists()
    inputs = ((one["path"], one) for one in manifest.get("inputs", {}).values())
    return all(
        _size_and_mtime(stage / name) == [one.get("bytes"), one.get("mtime_ns")]
        for name, one in (*manifest.get("outputs", {}).items(), *inputs)
    )


def _strings(values: Iterable[Any]) -> Iterator[str]:
    """Yield every string that may name a file, also those in lists, with and without a benchmark's #COLUMN."""
    for value in values:
        if isinstance(value, str):
            yield from (value, value.partition("#")[0])
        elif isinstance(value, (list, tuple)):
            yield from _strings(value)


def _size_and_mtime(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]
