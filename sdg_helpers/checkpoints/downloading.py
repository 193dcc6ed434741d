"""Stage 02, the download: a checkpoint from the hub into a folder, resumed after any death, verified file by file."""

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

MANIFEST = "download.json"
OnProgress = Callable[[int, int], None]  # (bytes done, bytes in all)
_BLOCK = 1 << 20
# the same weights once more, in forms that SGLang does not need beside safetensors
_OTHER_FORMS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "original/*", "consolidated*")
_POLL_S = 2.0
_RESUME = "Accept the terms of a gated model on its page. Run again to resume."


def download_checkpoint(
    repo: str, folder: Path, revision: str = "main", on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Bring a model of the hub into `folder`; a second call does nothing. Returns what download.json says.

    Every file is checked against the size and, for weights, the sha256 that the hub tells; download.json (repo, commit,
    files) is written last. A broken-off download goes on where it stopped. revision: a branch, a tag or a commit; what
    it was at the first call stays. Raises SdgError: no such model, no access, no space, a file that is not as it should
    be, a folder that holds another model.
    """
    folder = folder.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / ".lock", f"a download into {folder}"):
        if (known := files.read_json(folder / MANIFEST)) is not None:
            return _same(known, repo, revision, folder)
        wanted = _listing(repo, revision)
        _check_space(folder, wanted)
        with _reported(folder, sum(entry["bytes"] for entry in wanted["files"].values()), on_progress):
            _fetch(wanted, folder)
            _verify(wanted, folder)
        files.write_json(folder / MANIFEST, wanted)
        (folder / ".verified.jsonl").unlink(missing_ok=True)
        return wanted


def _same(known: dict[str, Any], repo: str, revision: str, folder: Path) -> dict[str, Any]:
    """The manifest, if it is of this model and its files are still there."""
    if known["repo"] != repo or revision not in (known["revision"], known["commit"]):
        raise SdgError(
            f"{folder}: expected {repo} at {revision}, found {known['repo']} at {known['revision']} "
            f"({known['commit'][:12]}). Give another folder, or remove this one."
        )
    for name, entry in known["files"].items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != entry["bytes"]:
            raise SdgError(
                f"{folder / name}: expected {entry['bytes']} bytes, as {MANIFEST} says, found "
                f"{'no file' if size is None else size}. Remove {folder / MANIFEST} and run again to fetch "
                "what is missing."
            )
    return known


def _listing(repo: str, revision: str) -> dict[str, Any]:
    """What the hub has: the commit, and name, size and sha256 of every file that is needed."""
    from huggingface_hub.hf_api import RepoFile

    with hub.explain_errors(f"{repo} at {revision}", _RESUME):
        commit = _hub().model_info(repo, revision=revision).sha
        tree = _hub().list_repo_tree(repo, revision=commit, recursive=True)
        found = [entry for entry in tree if isinstance(entry, RepoFile)]
    if any(entry.path.endswith(".safetensors") for entry in found):
        found = [entry for entry in found if not any(fnmatch(entry.path, form) for form in _OTHER_FORMS)]
    told = {entry.path: {"bytes": entry.size, **({"sha256": entry.lfs.sha256} if entry.lfs else {})} for entry in found}
    if "config.json" not in told:
        found = ", ".join(sorted(told)[:5]) or "no file"
        raise SdgError(
            f"{repo}: expected a model with a config.json, found {found}. Give the name of a model in the "
            "form of transformers."
        )
    return {"repo": repo, "revision": revision, "commit": commit, "files": dict(sorted(told.items()))}


def _fetch(wanted: dict[str, Any], folder: Path) -> None:
    from huggingface_hub import snapshot_download

    with hub.explain_errors(f"{wanted['repo']} at {wanted['revision']}", _RESUME), _quietly():
        snapshot_download(
            wanted["repo"],
            revision=wanted["commit"],
            local_dir=folder,
            allow_patterns=[*wanted["files"]],
            endpoint=os.environ.get("HF_ENDPOINT"),
        )


def _verify(wanted: dict[str, Any], folder: Path) -> None:
    """Check every file; what was found right before a death is not read again (700 GB take a while)."""
    checked = {(row["name"], row["bytes"], row["mtime_ns"]) for row in files.read_log(folder / ".verified.jsonl")}
    with files.AppendLog(folder / ".verified.jsonl") as log, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        left = [name for name in wanted["files"] if (name, *_stamp(folder / name)) not in checked]
        for name, stamp in zip(
            left, pool.map(lambda one: _check(folder / one, wanted["files"][one]), left), strict=True
        ):
            log.append({"name": name, "bytes": stamp[0], "mtime_ns": stamp[1]})


def _check(path: Path, entry: dict[str, Any]) -> tuple[int, int]:
    stamp, digest = _stamp(path), hashlib.sha256()
    right = stamp[0] == entry["bytes"]
    if right and "sha256" in entry:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        right = digest.hexdigest() == entry["sha256"]
    if not right:
        path.unlink(missing_ok=True)
        found = f"sha256 {digest.hexdigest()}" if stamp[0] == entry["bytes"] else f"{max(stamp[0], 0)} bytes"
        raise SdgError(
            f"{path}: expected {entry['bytes']} bytes with sha256 {entry.get('sha256', '(not told)')}, "
            f"found {found}. The file was removed; run again to fetch it anew."
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
            f"{folder}: {wanted['repo']} needs {needed / 1e9:.1f} GB more, found {free / 1e9:.1f} GB free. "
            "Free some, or give a folder on a roomier disk."
        )


def _hub() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the hub client's own progress bars."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@contextmanager
def _reported(folder: Path, total: int, on_progress: OnProgress | None) -> Iterator[None]:
    """Call on_progress now and then meanwhile, from a thread of its own, and once at the end."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(_POLL_S):
            on_progress(min(folder_bytes(folder), total), total)

    if on_progress is not None:
        threading.Thread(target=report, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
    if on_progress is not None:
        on_progress(total, total)
