"""The tensors of a checkpoint, read from file headers, and how tensor parallelism splits each of them."""

from __future__ import annotations

import json
import os
import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from sdg_helpers.errors import SdgError

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I8": 1, "U8": 1}
# How tensor parallelism splits a tensor, by name, as in SGLang's model classes (deepseek_v2.py, qwen2.py, llama.py):
# every rank holds the whole of MLA's low-rank projections, of gates and of norms.
_WHOLE = re.compile(r"q_a_proj|kv_a_proj|layernorm|norm\.|mlp\.gate\.|e_score_correction_bias|eh_proj|rotary")
_SPLIT = re.compile(r"embed_tokens|lm_head|shared_head\.head|[qo]_proj|q_b_proj|kv_b_proj|(gate|up|down)_proj|qkv")
_BY_KV_HEADS = re.compile(r"self_attn\.[kv]_proj")


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return prod(self.shape) * _BYTES[self.dtype]


@dataclass(frozen=True)
class Checkpoint:
    """A model's tensors and the settings that determine how they are split."""

    name: str
    tensors: list[Tensor]
    num_layers: int
    num_kv_heads: int

    @property
    def bytes(self) -> int:
        """Total size on disk."""
        return sum(tensor.bytes for tensor in self.tensors)


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Return {name: {dtype, shape, data_offsets}} of a safetensors file. Raises SdgError for one that is incomplete."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100 << 20)))
            header.pop("__metadata__", None)
            end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
            if file.seek(0, 2) != 8 + length + end:
                raise ValueError(f"{file.tell()} bytes; its header declares {8 + length + end}")
    except (OSError, ValueError, struct.error, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise SdgError(f"{path}: not a complete safetensors file ({error}). Download it again.") from None
    return header


def rename_tensors(path: Path, renamed: dict[str, str]) -> None:
    """Replace parts of the tensors' names in a safetensors file, without touching the data.

    renamed: part -> its replacement, which must not be longer: the header keeps its length, padded with spaces. Names
    that would collide are left as they are.
    """
    with open(path, "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        new: dict[str, Any] = {}
        for name, entry in header.items():
            better = name
            for part, replacement in renamed.items():
                better = better.replace(part, replacement)
            new[name if better != name and better in header else better] = entry
        if new.keys() == header.keys():
            return
        text = json.dumps(new, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length
        file.seek(8)
        file.write(text.ljust(length))
        file.flush()
        os.fsync(file.fileno())


def placement(tensor: Tensor, checkpoint: Checkpoint, tp_size: int) -> int:
    """Return the number of parts a tensor is split into; 1: whole on every rank; 0: not loaded (draft layers)."""
    layer = re.search(r"layers\.(\d+)\.", tensor.name)
    if layer and int(layer[1]) >= checkpoint.num_layers:
        return 0
    if _WHOLE.search(tensor.name):
        return 1
    if _BY_KV_HEADS.search(tensor.name):
        return min(tp_size, checkpoint.num_kv_heads)
    return tp_size if _SPLIT.search(tensor.name) else 1
