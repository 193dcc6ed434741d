"""Stage 02, shard: write a checkpoint as the ranks of a server hold it, so that each rank loads only its shard.

What counts as sharded has been loaded: a server answered the canary question from these files before the manifest was
written.
"""

from __future__ import annotations

import os
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.checkpoints import downloading
from sdg_helpers.checkpoints.tensors import rename_tensors
from sdg_helpers.cluster import ranks
from sdg_helpers.cluster.exit_codes import TryAgain
from sdg_helpers.cluster.ranks import Group
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock
from sdg_helpers.serving.server_specs import SglangSpec
from sdg_helpers.serving.sglang import command_lines
from sdg_helpers.serving.sglang.job_nodes import JobNodes, ServerDown, follow
from sdg_helpers.serving.sglang.sharded import ALIASES, MANIFEST, check_sharded, group_ranks, read_ranks, shard_names
from sdg_helpers.serving.sglang.supervision import JobServers

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json")
_MANIFESTS = {downloading.MANIFEST, MANIFEST}
_SETTLE_S = 60  # a shared file system may show other nodes' files this late


def shard_checkpoint(source: Path, folder: Path, spec: SglangSpec, logs: Path) -> dict[str, Any] | None:
    """Write `source` into `folder` for spec.tp_size ranks over all nodes of this job; every rank of the job calls it.

    spec: the server that will load the shards; its model, load_format and num_servers are ignored. logs: a folder that
    all nodes share. Writes the shards, copies config and tokenizer, loads the result into a server once, and writes
    sharded.json last; a second call does nothing. Returns the content of sharded.json; None on all ranks but the first.
    Raises SdgError: a folder of other shards, no such source, a rank's files missing or incomplete, shards that SGLang
    cannot load.
    """
    source, folder = source.expanduser().absolute(), folder.expanduser().absolute()
    group = ranks.current()
    spec = spec.model_copy(
        update={"model": str(folder), "load_format": "sharded_state", "num_servers": 1, "served_model_name": None}
    )
    if group.rank:
        follow(spec, logs.absolute(), group)
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / ".lock", f"sharding into {folder}"):
        servers = JobServers(spec, logs.absolute(), group)
        try:
            if (folder / MANIFEST).exists():
                return _check_source(check_sharded(folder, spec.tp_size), source, folder)
            version = command_lines.check_installed(
                spec.model_copy(update={"model": str(source), "load_format": "auto"})
            )
            for name in shard_names(folder):
                (folder / name).unlink()  # left by an interrupted attempt
            _write_shards(servers.nodes, source)
            _wait_for_files(folder, spec.tp_size)
            _make_loadable(source, folder)
            _load_once(servers, folder)
            return _publish(source, folder, spec, group, version)
        finally:
            servers.stop()


def _check_source(manifest: dict[str, Any], source: Path, folder: Path) -> dict[str, Any]:
    if manifest["source"] != (wanted := _describe_source(source)):
        raise SdgError(
            f"{folder} holds shards of {manifest['source']}, not of {wanted}. Give another folder, or remove this one."
        )
    return manifest


def _describe_source(source: Path) -> dict[str, Any]:
    """Identify what was sharded: by repository and commit if download_checkpoint wrote it, else by names and sizes."""
    known = files.read_json(source / downloading.MANIFEST)
    if known:
        return {"repo": known["repo"], "commit": known["commit"]}
    sizes = [f"{path.name} {path.stat().st_size}" for path in sorted(source.glob("*.safetensors"))]
    return {"folder": source.name, "content": files.content_id((source / "config.json").read_text(), *sizes)}


def _write_shards(nodes: JobNodes, source: Path) -> None:
    """Let all ranks write their shards; return when the first node's process has exited cleanly."""
    deadline_s = nodes.spec.deadline_s
    try:
        nodes.start(0, shard_from=source)
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            nodes.poll(0)
        raise ServerDown(
            f"it was still running after {deadline_s:g} s (start_deadline_s). {nodes.servers.describe_log(0)}"
        )
    except ServerDown as down:
        if nodes.finished(0, down):
            return
        error = down.final_error or TryAgain
        raise error(
            f"cannot shard the model into {nodes.spec.model}: {down.why}\nFix what the log reports, then run again."
        ) from None


def _wait_for_files(folder: Path, tp_size: int) -> None:
    """Return when every rank's files are here. Raises TryAgain when they stay incomplete."""
    written, end = -1, 0.0
    while flaw := _find_flaw(folder, tp_size):
        if (found := sum((folder / name).stat().st_size for name in shard_names(folder))) != written:
            written, end = found, time.monotonic() + _SETTLE_S  # another node is still writing
        elif time.monotonic() > end:
            raise TryAgain(
                f"{folder}: {flaw}, although the first rank reported success. See the logs of the other nodes, then "
                "run again."
            )
        time.sleep(1)


def _find_flaw(folder: Path, tp_size: int) -> str:
    """Return why these are not the complete files of tp_size ranks, or "" when they are."""
    try:
        found = read_ranks(folder)
    except SdgError as error:
        return str(error)
    if missing := sorted(set(range(tp_size)) - set(found)):
        return f"no model-rank-… files of rank {', '.join(map(str, missing))} of {tp_size}"
    for rank in range(tp_size):
        if odd := found[rank].keys() ^ found[0].keys():  # the only sign that one of a rank's files is missing
            return f"{len(odd)} tensors are only on one of the ranks 0 and {rank}, which must hold the same"
    return ""


def _make_loadable(source: Path, folder: Path) -> None:
    """Name the tensors as SGLang loads them, make the files readable by others, and copy the model's other files."""
    for name in shard_names(folder):
        rename_tensors(folder / name, ALIASES)
        os.chmod(folder / name, 0o666 & ~files.umask())  # safetensors makes them private
    _copy_metadata(source, folder)


def _load_once(servers: JobServers, folder: Path) -> None:
    """Serve the shards until the canary question is answered. Raises SdgError when they cannot be loaded."""
    try:
        servers.open()
    except SdgError as error:
        raise SdgError(f"{folder}: the shards are written, but SGLang cannot serve them. {error}") from None


def _publish(source: Path, folder: Path, spec: SglangSpec, group: Group, version: str) -> dict[str, Any]:
    """Write the manifest of shards that SGLang has loaded, and return it."""
    sizes = {name: (folder / name).stat().st_size for name in shard_names(folder)}
    tensors = read_ranks(folder)
    manifest = {
        "tp_size": spec.tp_size,
        "nodes": group.num_nodes,
        "sglang": version,
        "source": _describe_source(source),
        "bytes": sum(sizes.values()),
        "tensors_a_rank": len(tensors[0]),
        "files": sizes,
        "loaded": group_ranks(tensors),
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    files.write_json(folder / MANIFEST, manifest)
    return manifest


def _copy_metadata(source: Path, folder: Path) -> None:
    """Copy config, tokenizer, templates and code: all but weights, hidden files and the cookbook's manifests."""
    for path in sorted(source.rglob("*")):
        part = path.relative_to(source)
        hidden = any(one.startswith(".") for one in part.parts)
        if path.is_file() and not hidden and not path.name.endswith(_WEIGHTS) and path.name not in _MANIFESTS:
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / part)
