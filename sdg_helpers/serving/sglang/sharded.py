"""A sharded checkpoint's files: the tensors of each rank, and whether they are those that SGLang loaded."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.checkpoints.tensors import read_header
from sdg_helpers.errors import SdgError

MANIFEST = "sharded.json"
_FILE = re.compile(r"model-rank-(\d+)-part-(\d+)\.safetensors")
# Two names of one tensor. After its first forward pass, a model with latent attention (DeepSeek) has both, and SGLang
# saves the alias; a model that is about to be loaded has only the other one (SGLang's issue 35702).
ALIASES = {".attn_mha.kv_b_proj.": ".kv_b_proj."}
_SHOWN = 3


def check_sharded(folder: Path, tp_size: int) -> dict[str, Any]:
    """Return the manifest of a sharded checkpoint that a server of this tp_size can load.

    Raises SdgError for a folder without a manifest, of another tp_size, with missing or changed files, or with other
    tensors than those that SGLang loaded when stage 02 wrote it.
    """
    folder = Path(folder).expanduser()
    manifest = files.read_json(folder / MANIFEST)
    if manifest is None:
        raise SdgError(
            f"{folder}: not a complete sharded checkpoint (no {MANIFEST}, which is written last). Run stage 02, which "
            "writes it."
        )
    if manifest["tp_size"] != tp_size:
        raise SdgError(
            f"{folder}: these shards are for tp_size {manifest['tp_size']}, not {tp_size}. Set tp_size: "
            f"{manifest['tp_size']}, or shard again into another folder."
        )
    for name, size in manifest["files"].items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            raise SdgError(
                f"{folder / name}: {MANIFEST} records {size} bytes, found {'no file' if found is None else found}. "
                f"Remove {folder} and run stage 02 again."
            )
    if flaw := _find_difference(read_ranks(folder), manifest.get("loaded")):
        raise SdgError(f"{folder}: SGLang cannot load these shards: {flaw}. Remove {folder} and run stage 02 again.")
    return manifest


def shard_names(folder: Path) -> list[str]:
    """Return the names of the ranks' files, sorted."""
    return sorted(name for name in os.listdir(folder) if _FILE.fullmatch(name))


def rank_of(name: str) -> int | None:
    """Return the rank whose tensors a file of this name has; None for other files."""
    found = _FILE.fullmatch(name)
    return int(found[1]) if found else None


def read_ranks(folder: Path) -> dict[int, dict[str, str]]:
    """Return rank -> tensor -> dtype and shape, such as "BF16 128x32". Raises SdgError for an incomplete file."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for name in shard_names(folder):
        mine = found[rank_of(name) or 0]
        for tensor, entry in read_header(folder / name).items():
            mine[tensor] = f"{entry['dtype']} {'x'.join(map(str, entry['shape']))}"
    return dict(found)


def group_ranks(tensors: dict[int, dict[str, str]]) -> list[dict[str, Any]]:
    """Return [{"ranks": …, "tensors": …}]: ranks with the same tensors, usually all of them, share an entry."""
    groups: list[dict[str, Any]] = []
    for rank, mine in sorted(tensors.items()):
        for group in groups:
            if group["tensors"] == mine:
                group["ranks"].append(rank)
                break
        else:
            groups.append({"ranks": [rank], "tensors": mine})
    return groups


def _find_difference(found: dict[int, dict[str, str]], loaded: list[dict[str, Any]] | None) -> str:
    """Return how the ranks' tensors differ from those that SGLang loaded; "" when they are the same.

    loaded: as `group_ranks` returns it; None for shards of a version that did not load them.
    """
    if loaded is None:
        wrong = [name for mine in found.values() for name in mine if any(alias in name for alias in ALIASES)]
        return f"it has no tensor of the name {wrong[0]}" if wrong else ""
    wanted = {rank: group["tensors"] for group in loaded for rank in group["ranks"]}
    for rank in sorted(wanted.keys() | found.keys()):
        want, have = wanted.get(rank, {}), found.get(rank, {})
        odd = sorted(name for name in want.keys() | have.keys() if want.get(name) != have.get(name))
        if odd:
            shown = "; ".join(
                f"{name}: {want.get(name, 'none')}, not {have.get(name, 'none')}" for name in odd[:_SHOWN]
            )
            return f"rank {rank} has {len(odd)} other tensors than it loaded ({shown})"
    return ""
