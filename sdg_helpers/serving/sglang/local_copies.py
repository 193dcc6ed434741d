"""Copies of a model on the own disk of each node, so that a server that starts there again does not load it from the
shared file system.

    FOLDER/.lock             one process of a node copies or removes at a time
    FOLDER/MODEL-ID/         the files that this node's ranks load; a file under its final name has been verified
    FOLDER/MODEL-ID.used     locked (shared) while a server uses the copy; its time is that of the last use

ID changes with the model's files. To stay below the bound, copies that nobody uses are removed, the oldest first. Where
there is no room, the model is loaded from where it is, and the job's log says so.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from sdg_helpers import files
from sdg_helpers.checkpoints import downloading
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.locks import waiting_lock
from sdg_helpers.serving.server_specs import LocalCopies, SglangSpec
from sdg_helpers.serving.sglang import command_lines
from sdg_helpers.serving.sglang.sharded import rank_of
from sdg_helpers.temporary_files import temporary_path

_BLOCK = 1 << 22
_THREADS = 8
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
_used: dict[Path, BinaryIO] = {}  # open, and locked, for as long as this process lives


class _NoCopy(Exception):
    """There is no room for the copy, or no safe place; the text says which."""


def use_local_copy(spec: SglangSpec, group: Group) -> SglangSpec:
    """Return the settings with the model's copy on this node, made if need be. All ranks of a job call it.

    The first rank returns when all nodes are ready. Without `local_copies`, the settings are returned unchanged.
    Raises TryAgain for a file whose copy differs from it.
    """
    if spec.local_copies is None:
        return spec
    model = Path(command_lines.model_path(spec)).resolve()
    wanted = _files(model, _ranks(spec, group) if spec.load_format == "sharded_state" else None)
    try:
        folder = _copy(model, wanted, spec.local_copies)
        local = spec.model_copy(update={"model": str(folder), "served_model_name": spec.served_model})
    except _NoCopy as why:
        print(f"{model} is loaded from there, not from a copy on this node: {why}.", flush=True)
        local = spec
    _wait_for_nodes(group)
    return local


def _wait_for_nodes(group: Group) -> None:
    """On the first rank: wait until all others have said that they are ready."""
    if group.rank:
        group.send(copied=True)
    for _ in range(0 if group.rank else group.num_nodes - 1):
        while group.receive(5.0) is None:
            pass  # the end of another rank ends this one


def _ranks(spec: SglangSpec, group: Group) -> set[int]:
    """Return the ranks of all servers of which this node runs a part."""
    parts = command_lines.layout(spec, group.num_nodes)[group.rank]
    size = {part.nnodes: spec.tp_size // part.nnodes for part in parts}
    return {part.node_rank * size[part.nnodes] + number for part in parts for number in range(size[part.nnodes])}


def _files(model: Path, ranks: set[int] | None) -> dict[str, int]:
    """Return name -> bytes of a model's files; of shards only those of these ranks."""
    found = {}
    for path in sorted(model.rglob("*")):
        name = path.relative_to(model)
        rank = rank_of(path.name)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and (ranks is None or rank is None or rank in ranks):
            found[str(name)] = path.stat().st_size
    return found


def _copy(model: Path, wanted: dict[str, int], settings: LocalCopies) -> Path:
    """Return the folder of the copy, with at least these files. Raises _NoCopy or TryAgain."""
    top = Path(settings.folder).expanduser()
    states = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sorted(model.glob("*.json"))]
    folder = top / f"{model.name}-{files.content_id(str(model), *states)}"
    try:
        top.mkdir(0o700, parents=True, exist_ok=True)
        if top.stat().st_uid != os.geteuid() or top.stat().st_mode & 0o022:  # they could replace the model
            raise _NoCopy(f"{top} can be changed by other users; name a folder of your own")
        (top / ".lock").touch()
        with waiting_lock(top / ".lock", f"a copy of {model}"):
            _mark_used(folder)
            missing = {name: size for name, size in wanted.items() if _size(folder / name) != size}
            if missing:
                _make_room(top, sum(missing.values()), int(settings.max_gb * 1e9))
                _copy_files(model, folder, missing)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _NoCopy(f"{error.filename or top}: {error.strerror}") from None
    return folder


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return -1


def _mark_used(folder: Path) -> None:
    """Say that this process uses a copy, until it ends."""
    mark = _mark(folder)
    if mark not in _used:
        _used[mark] = mark.open("ab")
        fcntl.flock(_used[mark], fcntl.LOCK_SH)
    os.utime(mark)


def _mark(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.used")


def _make_room(top: Path, needed: int, max_bytes: int) -> None:
    """Remove copies that nobody uses, the oldest first, until `needed` bytes more fit. Raises _NoCopy."""
    while True:
        held = files.folder_bytes(top)
        free = shutil.disk_usage(top).free
        if held + needed <= max_bytes and needed <= free:
            return
        if not _remove_oldest(top):
            raise _NoCopy(
                f"{needed / 1e9:.1f} GB more are needed in {top}, where {free / 1e9:.1f} GB are free and copies in use "
                f"have {held / 1e9:.1f} of max_gb, {max_bytes / 1e9:g}"
            )


def _remove_oldest(top: Path) -> bool:
    """Remove the copy that has been unused for longest; return False without one."""
    for mark in sorted(top.glob("*.used"), key=lambda path: path.stat().st_mtime):
        with mark.open("ab") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
            mark.unlink()
            return True
    return False


def _copy_files(model: Path, folder: Path, missing: dict[str, int]) -> None:
    known = (files.read_json(model / downloading.MANIFEST) or {}).get("files", {})
    began = time.monotonic()
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda name: _copy_file(model / name, folder / name, known.get(name, {})), missing))
    took_s, size_gb = time.monotonic() - began, sum(missing.values()) / 1e9
    print(f"Copied {size_gb:.1f} GB of {model} to {folder} in {took_s:.0f} s.", flush=True)


def _copy_file(source: Path, target: Path, known: dict[str, str]) -> None:
    """Copy a file, and read the copy again. known: its sha256, if the hub named it. Raises TryAgain."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new, read, written = temporary_path(target), hashlib.sha256(), hashlib.sha256()
    try:
        with open(source, "rb") as original, open(new, "wb") as copy:
            while block := original.read(_BLOCK):
                read.update(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
            if hasattr(os, "posix_fadvise"):  # so that it is the disk that is read again, not its cache
                os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with open(new, "rb") as copy:
            while block := copy.read(_BLOCK):
                written.update(block)
        expected = known.get("sha256", read.hexdigest())
        if written.hexdigest() != expected:
            raise TryAgain(
                f"{target}: the copy differs from {source}: its sha256 is {written.hexdigest()}, not {expected}. Check "
                "this node's disk, or switch local_copies off."
            )
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)
