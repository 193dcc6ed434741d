"""Manifests, and whether the files of a finished stage are still those that its manifest records.

Sizes and times are compared each time a stage is opened, contents where a stage reads them anyway or a time differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import BLOCK, Check, fingerprint, has_content, has_hash, size_and_time

SEED_FILES = "output-rs*.jsonl"  # too large to be read twice: `read_lines` checks them while a stage reads them
ROW_HASHES = "hashes"  # the folder with a hash of each row of a stage's JSONL files, which `sdg repair` needs


def run_folder_of(stage: Path) -> Path:
    """The run's folder, given the folder of one of its stages (outputs/RUN/TRACK/STAGE)."""
    return stage.parent.parent


@dataclass(frozen=True)
class Damage:
    """An output that is not what its stage wrote. what: how it differs, after the file's name in a sentence."""

    name: str
    what: str


class DamagedStage(SdgError):
    """Files of a finished stage were changed or lost since it wrote them."""

    def __init__(self, folder: Path, damages: Iterable[Damage]):
        run, stage = run_folder_of(folder).name, f"{folder.parent.name}/{folder.name}"
        details = "".join(f"\n  {one.name} {one.what}" for one in damages)
        super().__init__(
            f"{folder}: the finished stage {stage} is damaged:{details}\nRun `sdg repair {run}`: it keeps what is "
            f"intact and makes only the rest again. Or restore the files from a copy. `sdg verify {run}` checks all "
            "files of the run."
        )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a complete stage, else None. Raises SdgError when it is not a manifest."""
    path = folder / "manifest.json"
    way_out = (
        f"Restore it from a copy, or run `sdg repair {run_folder_of(folder).name}`, which finishes the stage again."
    )
    try:
        manifest = files.read_json(path)
    except SdgError as error:
        raise SdgError(f"{str(error).partition(' Something else')[0]} {way_out}") from None
    if manifest is not None and not _is_manifest(manifest):
        raise SdgError(f"{path}: not a manifest: it needs counts with rows_in, rows_out and dropped. {way_out}")
    if manifest is not None and manifest.get("checksum", checksum(manifest)) != checksum(manifest):
        raise SdgError(f"{path}: its content has changed since the stage wrote it. {way_out}")
    return manifest


def checksum(manifest: Mapping[str, Any]) -> str:
    """Return the hash of a manifest, without its own key `checksum` (versions up to 0.1 wrote none)."""
    return files.content_id(files.dumps({key: manifest[key] for key in manifest if key != "checksum"}).decode())


def _is_manifest(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    counts, inputs, outputs = (value.get(key, {}) for key in ("counts", "inputs", "outputs"))
    return (
        all(isinstance(one, dict) for one in (counts, inputs, outputs, value.get("parameters", {})))
        and {"rows_in", "rows_out", "dropped"} <= counts.keys()
        and isinstance(counts["dropped"], dict)
        and all(isinstance(one, dict) for one in (*inputs.values(), *outputs.values()))
    )


def find_damage(folder: Path, manifest: Mapping[str, Any], *, by_hash: bool = False) -> list[Damage]:
    """Return the outputs of a complete stage that are missing, have changed, or were added.

    Sizes and times are compared; the content only where a time differs, or of all files (by_hash). A file whose time
    alone has changed gets its recorded time back, so that it is not read again. An old manifest may record less.
    """
    outputs: dict[str, dict[str, Any]] = manifest.get("outputs") or {}
    found = [Damage(name, what) for name, known in outputs.items() if (what := _flaw(folder / name, known, by_hash))]
    if any(Path(name).match(SEED_FILES) for name in outputs):
        added = sorted(path.name for path in folder.glob(SEED_FILES) if path.name not in outputs)
        found += [Damage(name, "was added: this stage did not write it") for name in added]
    return found


def _flaw(path: Path, known: Mapping[str, Any], by_hash: bool) -> str:
    rows = f" ({known['rows']:,} rows)" if "rows" in known else ""
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"is missing{rows}"
    if not path.is_file():
        return "is not a file"
    if known.get("bytes", status.st_size) != status.st_size:
        return f"has {status.st_size:,} bytes; the stage wrote {known['bytes']:,}{rows}"
    touched = known.get("mtime_ns", status.st_mtime_ns) != status.st_mtime_ns
    if (touched or by_hash) and not has_content(path, dict(known)):
        return f"has other content than the stage wrote{rows}, in as many bytes"
    if touched and path.stat().st_mtime_ns == status.st_mtime_ns:
        with suppress(OSError):  # somebody else's file
            os.utime(path, ns=(status.st_atime_ns, known["mtime_ns"]))
    return ""


def check_outputs(folder: Path, manifest: Mapping[str, Any], *, by_hash: bool = False) -> None:
    """Raise DamagedStage unless all outputs of a complete stage are as it wrote them (see `find_damage`)."""
    if damages := find_damage(folder, manifest, by_hash=by_hash):
        raise DamagedStage(folder, damages)


def recorded(path: Path) -> dict[str, Any] | None:
    """Return the fingerprint of a file in the manifest of the stage that wrote it; None for any other file."""
    manifest = _manifest_of_producer(path)
    return None if manifest is None else (manifest.get("outputs") or {}).get(path.name)


def earlier_outputs(path: Path) -> list[dict[str, dict[str, Any]]]:
    """Return what the outputs of the stage that wrote a file were each time before it grew: name -> fingerprint."""
    manifest = _manifest_of_producer(path)
    return [state["outputs"] for state in (manifest or {}).get("growth", ()) if state.get("outputs")]


def _manifest_of_producer(path: Path) -> dict[str, Any] | None:
    """The manifest beside a file, unless another program's file has that name."""
    other = files.read_json(path.parent / "manifest.json")
    is_ours = isinstance(other, dict) and {"stage", "counts", "outputs"} & other.keys()
    return read_manifest(path.parent) if is_ours else None


def input_fingerprint(path: Path, *, by_hash: bool, hash_later: bool = False) -> dict[str, Any]:
    """Return the fingerprint of a stage's input, from the manifest of the stage that wrote it if there is one.

    by_hash: also read the file and compare its content, unless it is a seed file, which is checked while it is read.
    hash_later: return {"bytes", "mtime_ns"} of a file that no stage wrote, instead of reading it.
    Raises DamagedStage when outputs of that stage have changed, and SdgError when the stage is unfinished or the file
    does not exist.
    """
    manifest = _manifest_of_producer(path)
    if manifest is None and (path.parent / "begun.json").exists():
        raise SdgError(f"{path}: the stage that writes this file is unfinished. Finish it first.")
    if manifest is not None:
        check_outputs(path.parent, manifest)
    if not path.exists():
        raise SdgError(f"{path}: input file not found. Run the stage that writes it first.")
    known = recorded(path)
    if known is None or not has_hash(known):
        return size_and_time(path) if hash_later else fingerprint(path)
    if by_hash and not path.match(SEED_FILES):
        check_content(path)
    return known


def check_content(path: Path) -> None:
    """Raise DamagedStage when the content of an output is not what its stage wrote. Reads the file."""
    known = recorded(path)
    if known is not None and (what := _flaw(path, known, by_hash=True)):
        raise DamagedStage(path.parent, [Damage(path.name, what)])


def is_recorded(path: Path) -> bool:
    """Return whether a finished stage wrote this file and recorded its content, so that `read_lines` checks it."""
    return has_hash(recorded(path) or {})


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file. Raises DamagedStage after the last one when its stage wrote something else."""
    check = Check(recorded(path) or {})
    with open(path, "rb", buffering=BLOCK) as file:
        for line in file:
            check.update(line)
            yield line
    if not check.passes():
        raise DamagedStage(path.parent, [Damage(path.name, "has other content than the stage wrote")])
