"""A workspace: a folder with its own copy of the notebooks, profiles and prompts, for work outside a clone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from sdg_helpers import __version__, files, paths
from sdg_helpers.errors import SdgError

_RECORD = ".sdg-workspace.json"


@dataclass
class CopiedFiles:
    """Paths relative to the workspace. kept: files that the user edited, which are never overwritten."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def create_workspace(folder: Path) -> CopiedFiles:
    """Copy notebooks/, prompts/ and outputs/README.md into a folder.

    A new or empty folder becomes a workspace. A workspace is brought up to this version of the package: missing files
    are added, and files that were not edited since they were copied are updated.

    Raises SdgError for a clone and for a folder with other contents.
    """
    digests, copied = _read_digests(folder), CopiedFiles()
    _write_digests(folder, digests)  # marks the folder, so that an interrupted copy can be repeated
    for name, source in paths.workspace_files().items():
        target, content = folder / name, source.read_bytes()
        present = target.read_bytes() if target.exists() else None
        if present is None:
            outcome = copied.added
        elif present == content:
            outcome = copied.unchanged
        else:
            outcome = copied.updated if _digest(present) == digests.get(name) else copied.kept
        outcome.append(name)
        if outcome is copied.kept:
            continue
        digests[name] = _digest(content)
        if present != content:
            with files.atomic_writer(target) as out:
                out.write(content)
    _write_digests(folder, digests)
    return copied


def _read_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file as it was copied, by path; empty for a new workspace. Refuses a folder that is neither."""
    if not folder.exists():
        return {}
    if not folder.is_dir():
        raise SdgError(f"{folder} is a file. Give a new folder.")
    if (record := files.read_json(folder / _RECORD)) is not None:
        return record["files"]
    if paths.is_project(folder):
        raise SdgError(
            f"{folder} has notebooks already, but `sdg init` did not put them there (it is probably a clone): work in "
            "it without `sdg init`, or give a new folder."
        )
    if any(not path.name.startswith(".") for path in folder.iterdir()):
        raise SdgError(f"{folder} is not empty, and it is not a workspace. Give a new folder.")
    return {}


def _write_digests(folder: Path, digests: dict[str, str]) -> None:
    files.write_json(folder / _RECORD, {"version": __version__, "files": digests})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
