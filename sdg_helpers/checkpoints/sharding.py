"""Stage 02, for real: a checkpoint written as the ranks of a server hold it, so that each reads a file of its own."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.checkpoints import downloading
from sdg_helpers.checkpoints.tensors import read_header
from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import command_lines
from sdg_helpers.serving.sglang.job_nodes import Crew, Down, follow
from sdg_helpers.serving.sglang.sharded import MANIFEST, check_sharded

_FILE = re.compile(r"model-rank-(\d+)-part-(\d+)\.safetensors")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json")
_OURS = {downloading.MANIFEST, MANIFEST}
_SETTLE_S = 60  # what a shared file system may take to show what other nodes have written


def shard_checkpoint(source: Path, folder: Path, spec: SglangSpec, logs: Path) -> dict[str, Any] | None:
    """Write `source` into `folder` for spec.tp_size ranks over all nodes of this job; every rank of the job calls it.

    spec: of the server that is to use it (SGLang's interpreter, tp_size, further arguments); its model and load_format
    do not matter here. logs: a folder that all nodes share. Files, then their check, then config and tokenizer, then
    sharded.json; a second call does nothing. Returns sharded.json's content; None on other ranks than the first.
    Raises SdgError: a folder of other shards, a source that is none, a rank whose files are not there or not whole.
    """
    source, folder = source.expanduser().absolute(), folder.expanduser().absolute()
    group = ranks.current()
    spec = spec.model_copy(
        update={"model": str(source), "load_format": "auto", "num_servers": 1, "served_model_name": None}
    )
    if group.rank:
        return follow(spec, logs.absolute(), group)
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / ".lock", f"sharding into {folder}"):
        crew = Crew(spec, logs.absolute(), group)
        try:
            if (folder / MANIFEST).exists():
                return _same(check_sharded(folder, spec.tp_size), source, folder)
            version = command_lines.check_installed(spec)
            for name in _names(folder):
                (folder / name).unlink()  # of an attempt that did not come to its end
            _write(crew, folder)
            return _finish(source, folder, spec, group, version)
        finally:
            crew.stop()


def _same(manifest: dict[str, Any], source: Path, folder: Path) -> dict[str, Any]:
    if manifest["source"] != (told := _source(source)):
        raise SdgError(
            f"{folder}: expected shards of {told}, found them of {manifest['source']}. Give another folder, "
            "or remove this one."
        )
    return manifest


def _source(source: Path) -> dict[str, Any]:
    """What the shards are made of: the hub's name and commit where it was downloaded by us, else names and sizes."""
    known = files.read_json(source / downloading.MANIFEST)
    if known:
        return {"repo": known["repo"], "commit": known["commit"]}
    sizes = [f"{path.name} {path.stat().st_size}" for path in sorted(source.glob("*.safetensors"))]
    return {"folder": source.name, "content": files.content_id((source / "config.json").read_text(), *sizes)}


def _write(crew: Crew, folder: Path) -> None:
    """Have all ranks write; return when the first node's process has ended in good order."""
    try:
        crew.start(shard_to=folder)
        end = time.monotonic() + crew.spec.deadline_s
        while time.monotonic() < end:
            crew.look()
        raise Down(f"it was still at work after {crew.spec.deadline_s:g} s (start_deadline_s). {crew.node.tail()}")
    except Down as down:
        if crew.returned(down):
            return
        error = down.end_with or TryAgain
        raise error(
            f"{folder}: the model could not be sharded: {down.why}\nMend what the log tells, then run again."
        ) from None


def _finish(source: Path, folder: Path, spec: SglangSpec, group: Group, version: str) -> dict[str, Any]:
    """Check every rank's files, open them to others, copy what is not weights, write the manifest last."""
    written, end = -1, 0.0
    while wrong := _what_is_wrong(folder, spec.tp_size):
        if (found := sum((folder / name).stat().st_size for name in _names(folder))) != written:
            written, end = found, time.monotonic() + _SETTLE_S  # another node is still writing
        elif time.monotonic() > end:
            raise TryAgain(
                f"{folder}: {wrong}. The first rank has reported success all the same: see the logs of the "
                "other nodes, then run again."
            )
        time.sleep(1)
    for name in _names(folder):
        os.chmod(folder / name, 0o666 & ~files.umask())  # safetensors writes for its own user only
    _copy_metadata(source, folder)
    sizes = {name: (folder / name).stat().st_size for name in _names(folder)}
    manifest = {
        "tp_size": spec.tp_size,
        "nodes": group.num_nodes,
        "sglang": version,
        "source": _source(source),
        "bytes": sum(sizes.values()),
        "tensors_a_rank": len(_tensors(folder)[0]),
        "files": sizes,
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    files.write_json(folder / MANIFEST, manifest)
    return manifest


def _what_is_wrong(folder: Path, tp_size: int) -> str:
    """Why these are not the whole files of tp_size ranks; "" when they are."""
    try:
        found = _tensors(folder)
    except SdgError as error:
        return str(error)
    if missing := sorted(set(range(tp_size)) - set(found)):
        return f"expected files of {tp_size} ranks (model-rank-…), found none of rank {', '.join(map(str, missing))}"
    for rank in range(tp_size):
        if odd := found[rank] ^ found[0]:  # nothing else tells whether a part is missing
            return f"expected the same tensors on every rank, found {len(odd)} on one of the ranks 0 and {rank} alone"
    return ""


def _tensors(folder: Path) -> dict[int, set[str]]:
    """Rank -> names of its tensors. Raises SdgError for a file that is not whole."""
    found: dict[int, set[str]] = defaultdict(set)
    for name in _names(folder):
        found[int(_FILE.fullmatch(name)[1])] |= set(read_header(folder / name))
    return found


def _names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if _FILE.fullmatch(name))


def _copy_metadata(source: Path, folder: Path) -> None:
    """Config, tokenizer, templates, code: all but weights and what is ours or hidden."""
    for path in sorted(source.rglob("*")):
        part = path.relative_to(source)
        hidden = any(one.startswith(".") for one in part.parts)
        if path.is_file() and not hidden and not path.name.endswith(_WEIGHTS) and path.name not in _OURS:
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / part)
