"""Checkpoints that can be planned offline: their tensors, computed from the sizes in their config.json."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from sdg_helpers.checkpoints.tensors import Checkpoint, Tensor


def deepseek_r1() -> Checkpoint:
    """Return DeepSeek-R1-0528's tensors: 8-bit weights with a scale per 128 x 128 block."""
    hidden, heads, q_rank, kv_rank, nope, rope = 7168, 128, 1536, 512, 128, 64
    tensors = [
        Tensor("model.embed_tokens.weight", (129280, hidden), "BF16"),
        Tensor("lm_head.weight", (129280, hidden), "BF16"),
        Tensor("model.norm.weight", (hidden,), "BF16"),
    ]

    def linear(name: str, *shape: int) -> Iterator[Tensor]:
        yield Tensor(f"{name}.weight", shape, "F8_E4M3")
        yield Tensor(f"{name}.weight_scale_inv", tuple(ceil(size / 128) for size in shape), "F32")

    def mlp(name: str, width: int) -> Iterator[Tensor]:
        yield from linear(f"{name}.gate_proj", width, hidden)
        yield from linear(f"{name}.up_proj", width, hidden)
        yield from linear(f"{name}.down_proj", hidden, width)

    for layer in range(62):  # the last layer only drafts tokens for speculative decoding
        at = f"model.layers.{layer}"
        for norm, width in (
            ("input_layernorm", hidden),
            ("post_attention_layernorm", hidden),
            ("self_attn.q_a_layernorm", q_rank),
            ("self_attn.kv_a_layernorm", kv_rank),
        ):
            tensors.append(Tensor(f"{at}.{norm}.weight", (width,), "BF16"))
        for name, shape in (
            ("q_a_proj", (q_rank, hidden)),
            ("q_b_proj", (heads * (nope + rope), q_rank)),
            ("kv_a_proj_with_mqa", (kv_rank + rope, hidden)),
            ("kv_b_proj", (heads * (nope + 128), kv_rank)),
            ("o_proj", (hidden, heads * 128)),
        ):
            tensors += linear(f"{at}.self_attn.{name}", *shape)
        if layer < 3:
            tensors += mlp(f"{at}.mlp", 18432)
            continue
        tensors += [
            Tensor(f"{at}.mlp.gate.weight", (256, hidden), "BF16"),
            Tensor(f"{at}.mlp.gate.e_score_correction_bias", (256,), "F32"),
        ]
        for expert in ("shared_experts", *(f"experts.{number}" for number in range(256))):
            tensors += mlp(f"{at}.mlp.{expert}", 2048)
    at = "model.layers.61"
    tensors += [
        Tensor(f"{at}.{name}.weight", shape, "BF16")
        for name, shape in (
            ("embed_tokens", (129280, hidden)),
            ("shared_head.head", (129280, hidden)),
            ("eh_proj", (hidden, 2 * hidden)),
            ("enorm", (hidden,)),
            ("hnorm", (hidden,)),
            ("shared_head.norm", (hidden,)),
        )
    ]
    return Checkpoint("deepseek-ai/DeepSeek-R1-0528", tensors, num_layers=61, num_kv_heads=128)


def qwen_32b() -> Checkpoint:
    """Return Qwen2.5-32B-Instruct's tensors."""
    hidden, width, kv_width = 5120, 27648, 8 * 128
    tensors = [
        Tensor("model.embed_tokens.weight", (152064, hidden), "BF16"),
        Tensor("lm_head.weight", (152064, hidden), "BF16"),
        Tensor("model.norm.weight", (hidden,), "BF16"),
    ]
    for layer in range(64):
        at = f"model.layers.{layer}"
        for name, shape in (
            ("self_attn.q_proj", (hidden, hidden)),
            ("self_attn.k_proj", (kv_width, hidden)),
            ("self_attn.v_proj", (kv_width, hidden)),
            ("self_attn.o_proj", (hidden, hidden)),
            ("mlp.gate_proj", (width, hidden)),
            ("mlp.up_proj", (width, hidden)),
            ("mlp.down_proj", (hidden, width)),
            ("input_layernorm", (hidden,)),
            ("post_attention_layernorm", (hidden,)),
        ):
            tensors.append(Tensor(f"{at}.{name}.weight", shape, "BF16"))
        for name, size in (("q_proj", hidden), ("k_proj", kv_width), ("v_proj", kv_width)):
            tensors.append(Tensor(f"{at}.self_attn.{name}.bias", (size,), "BF16"))
    return Checkpoint("Qwen/Qwen2.5-32B-Instruct", tensors, num_layers=64, num_kv_heads=8)


# By lower-case name. Their total sizes match those of the published index files.
DESCRIBED = {"deepseek-ai/deepseek-r1-0528": deepseek_r1, "qwen/qwen2.5-32b-instruct": qwen_32b}
