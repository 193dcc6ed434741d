"""Stage 02, plan: the size of a checkpoint, and of each rank's shard.

With `--load-format sharded_state` each rank reads only its own shard; from the original files each rank reads
everything and keeps its part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path
from typing import Any

from sdg_helpers import files, hub, paths
from sdg_helpers.checkpoints.catalogue import DESCRIBED
from sdg_helpers.checkpoints.tensors import Checkpoint, Tensor, placement, read_header
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.stages import Stage


def read_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Return a checkpoint's tensors, reading file headers only.

    name: one of DESCRIBED (no network needed), a folder with config.json and *.safetensors, or a model on the hub.
    Raises SdgError when it cannot be read.
    """
    if name.lower() in DESCRIBED:
        return DESCRIBED[name.lower()]()
    folder = paths.resolve_path(name)
    if (folder / "config.json").exists():
        return _build(name, files.read_json(folder / "config.json"), _folder_tensors(folder))
    if folder.exists():
        raise SdgError(
            f"{folder}: this folder has no config.json. Give the folder that holds the checkpoint's config.json and "
            "*.safetensors."
        )
    return _from_hub(name, revision)


def _build(name: str, config: Any, tensors: Iterable[Tensor]) -> Checkpoint:
    try:
        kv_heads = config.get("num_key_value_heads") or config.get("num_attention_heads") or 1
        layers, kv_heads = int(config["num_hidden_layers"]), int(kv_heads)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise SdgError(
            f"checkpoint {name!r}: config.json must be an object with the numbers num_hidden_layers and "
            f"num_key_value_heads ({type(error).__name__}: {error}). Download it again, or give another checkpoint."
        ) from None
    return Checkpoint(name, list(tensors), layers, kv_heads)


def _folder_tensors(folder: Path) -> Iterator[Tensor]:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise SdgError(f"{folder}: this folder has no *.safetensors. Give a checkpoint in that format.")
    for path in weights:
        for name, entry in read_header(path).items():
            yield Tensor(name, tuple(entry["shape"]), entry["dtype"])


def _from_hub(name: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import get_safetensors_metadata, hf_hub_download

    known = f"Known without a network: {', '.join(DESCRIBED)}.{did_you_mean(name, DESCRIBED)}"
    with hub.explain_errors(f"checkpoint {name!r}", known):
        config = json.loads(Path(hf_hub_download(name, "config.json", revision=revision)).read_text())
        metadata = get_safetensors_metadata(name, revision=revision)
    tensors = [
        Tensor(tensor, tuple(one.shape), one.dtype)
        for file in metadata.files_metadata.values()
        for tensor, one in file.tensors.items()
    ]
    return _build(name, config, tensors)


def rank_bytes(checkpoint: Checkpoint, tp_size: int) -> dict[str, int]:
    """Return the bytes that one rank holds: split (its share), whole (the same on every rank), skipped (not loaded)."""
    sums = {"split": 0, "whole": 0, "skipped": 0}
    for tensor in checkpoint.tensors:
        parts = placement(tensor, checkpoint, tp_size)
        kind = "skipped" if parts == 0 else "whole" if parts == 1 else "split"
        sums[kind] += ceil(tensor.bytes / max(parts, 1))
    return sums


def plan_shards(
    stage: Stage,
    *,
    checkpoint: str,
    tp_size: int,
    nodes: int = 1,
    revision: str | None = None,
    read_gb_per_s: float = 2.0,
) -> dict[str, Any]:
    """Write plan.json: bytes per rank, and loading times with and without shards. Return the manifest.

    read_gb_per_s: how fast one node reads from the shared file system, in 10^9 bytes per second. Raises SdgError for
    impossible settings and for a checkpoint that cannot be read.
    """
    if nodes < 1:
        raise SdgError(f"nodes must be 1 or more, not {nodes}.")
    if not read_gb_per_s > 0:
        raise SdgError(f"read_gb_per_s must be above 0 (10^9 bytes per second), not {read_gb_per_s:g}.")
    if tp_size < 1 or tp_size % nodes:
        raise SdgError(f"tp_size must be a multiple of nodes ({nodes}), not {tp_size}.")
    parameters = {
        "checkpoint": checkpoint,
        "revision": revision,
        "tp_size": tp_size,
        "nodes": nodes,
        "read_gb_per_s": read_gb_per_s,
    }
    with stage.work(parameters, {}) as work:
        if work.done:
            return work.manifest
        model = read_checkpoint(checkpoint, revision)
        part, ranks_a_node = rank_bytes(model, tp_size), tp_size // nodes
        held = part["split"] + part["whole"]
        plan = {
            "checkpoint": model.name,
            "tensors": len(model.tensors),
            "bytes": model.bytes,
            "rank_bytes": part,
            "bytes_a_rank": held,
            "bytes_of_all_shards": held * tp_size,
            "load_s": {
                "every rank reads all": ranks_a_node * model.bytes / read_gb_per_s / 1e9,
                "a node reads all once": model.bytes / read_gb_per_s / 1e9,
                "every rank reads its shard": ranks_a_node * held / read_gb_per_s / 1e9,
            },
        }
        files.write_json(work.folder / "plan.json", plan)
        return work.finish(
            rows_in=len(model.tensors), rows_out=len(model.tensors), plan=plan, outputs=[work.folder / "plan.json"]
        )
