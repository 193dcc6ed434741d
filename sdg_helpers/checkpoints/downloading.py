"""Stage 02, download: bring a checkpoint from the hub into a folder, resumable at any point, every file verified."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sdg_helpers import files, hub
from sdg_helpers.errors import SdgError
from sdg_helpers.files import folder_bytes
from sdg_helpers.locks import Lock

MANIFEST, LOCK = "download.json", ".lock"
OnProgress = Callable[[int, int], None]  # (bytes done, total bytes)
_BLOCK = 1 << 20
# the same weights in other formats, which SGLang does not need next to safetensors
_OTHER_FORMATS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "original/*", "consolidated*")
_POLL_S = 2.0
_RESUME = "Accept the terms of a gated model on its page. Run again to resume."


def download_checkpoint(
    repo: str, folder: Path, revision: str = "main", on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Download a model from the hub into `folder`; return the content of download.json. A second call does nothing.

    Every file is checked against the hub's size and, for weights, sha256; download.json (repo, commit, files) is
    written last. An interrupted download resumes. revision: a branch, a tag or a commit, resolved at the first call.
    Raises SdgError: no such model, no access, no disk space, a corrupt file, a folder that holds another model.
    """
    folder = folder.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / LOCK, f"a download into {folder}"):
        if (known := files.read_json(folder / MANIFEST)) is not None:
            return _check_existing(known, repo, revision, folder)
        wanted = _list_files(repo, revision)
        _check_space(folder, wanted)
        with _report_progress(folder, sum(entry["bytes"] for entry in wanted["files"].values()), on_progress):
            _fetch(wanted, folder)
            _verify(wanted, folder)
        files.write_json(folder / MANIFEST, wanted)
        (folder / ".verified.jsonl").unlink(missing_ok=True)
        return wanted


def _check_existing(known: dict[str, Any], repo: str, revision: str, folder: Path) -> dict[str, Any]:
    """Return the manifest. Raises SdgError if it describes another model, or files are missing."""
    if known["repo"] != repo or revision not in (known["revision"], known["commit"]):
        raise SdgError(
            f"{folder} already holds {known['repo']} at {known['revision']} ({known['commit'][:12]}), not {repo} at "
            f"{revision}. Give another folder, or remove this one."
        )
    for name, entry in known["files"].items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != entry["bytes"]:
            raise SdgError(
                f"{folder / name}: {MANIFEST} records {entry['bytes']} bytes, found "
                f"{'no file' if size is None else size}. Remove {folder / MANIFEST} and run again to download what is "
                "missing."
            )
    return known


def _list_files(repo: str, revision: str) -> dict[str, Any]:
    """Ask the hub for the commit, and for name, size and sha256 of every file that is needed."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with hub.explain_errors(f"{repo} at {revision}", _RESUME):
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        commit = api.model_info(repo, revision=revision).sha
        tree = api.list_repo_tree(repo, revision=commit, recursive=True)
        found = [entry for entry in tree if isinstance(entry, RepoFile)]
    if any(entry.path.endswith(".safetensors") for entry in found):
        found = [entry for entry in found if not any(fnmatch(entry.path, form) for form in _OTHER_FORMATS)]
    wanted = {
        entry.path: {"bytes": entry.size, **({"sha256": entry.lfs.sha256} if entry.lfs else {})} for entry in found
    }
    if "config.json" not in wanted:
        names = ", ".join(sorted(wanted)[:5]) or "nothing"
        raise SdgError(f"{repo}: no config.json (found {names}). Give the name of a model in transformers' format.")
    return {"repo": repo, "revision": revision, "commit": commit, "files": dict(sorted(wanted.items()))}


def _fetch(wanted: dict[str, Any], folder: Path) -> None:
    from huggingface_hub import snapshot_download

    with hub.explain_errors(f"{wanted['repo']} at {wanted['revision']}", _RESUME), _no_progress_bars():
        snapshot_download(
            wanted["repo"],
            revision=wanted["commit"],
            local_dir=folder,
            allow_patterns=[*wanted["files"]],
            endpoint=os.environ.get("HF_ENDPOINT"),
        )


def _verify(wanted: dict[str, Any], folder: Path) -> None:
    """Check every file, except those that an interrupted call has verified (700 GB take a while to read)."""
    checked = {(row["name"], row["bytes"], row["mtime_ns"]) for row in files.read_log(folder / ".verified.jsonl")}
    with files.AppendLog(folder / ".verified.jsonl") as log, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        unverified = [name for name in wanted["files"] if (name, *_stamp(folder / name)) not in checked]
        stamps = pool.map(lambda name: _check(folder / name, wanted["files"][name]), unverified)
        for name, stamp in zip(unverified, stamps, strict=True):
            log.append({"name": name, "bytes": stamp[0], "mtime_ns": stamp[1]})


def _check(path: Path, entry: dict[str, Any]) -> tuple[int, int]:
    """Return (bytes, mtime_ns) of a file as the hub describes it. Removes any other file, and raises SdgError."""
    stamp, digest = _stamp(path), hashlib.sha256()
    intact = stamp[0] == entry["bytes"]
    if intact and "sha256" in entry:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        intact = digest.hexdigest() == entry["sha256"]
    if not intact:
        path.unlink(missing_ok=True)
        found = f"sha256 {digest.hexdigest()}" if stamp[0] == entry["bytes"] else f"{max(stamp[0], 0)} bytes"
        raise SdgError(
            f"{path}: expected {entry['bytes']} bytes with sha256 {entry.get('sha256', 'unknown')}, found {found}. The "
            "corrupt file was removed; run again to download it."
        )
    return stamp


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except FileNotFoundError:
        return -1, 0


def _check_space(folder: Path, wanted: dict[str, Any]) -> None:
    needed = sum(entry["bytes"] for entry in wanted["files"].values()) - folder_bytes(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SdgError(
            f"{folder}: {wanted['repo']} needs {needed / 1e9:.1f} GB more, but only {free / 1e9:.1f} GB are free. Free "
            "disk space, or give a folder on a larger disk."
        )


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Hide the hub client's progress bars."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@contextmanager
def _report_progress(folder: Path, total: int, on_progress: OnProgress | None) -> Iterator[None]:
    """Call on_progress from a background thread during the body, and once when it succeeds."""
    if on_progress is None:
        yield
        return
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(_POLL_S):
            on_progress(min(folder_bytes(folder), total), total)

    threading.Thread(target=report, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
    on_progress(total, total)
