"""The plan of a sharded checkpoint: sizes computed by hand, real safetensors files, models of a hub."""

import json
import os
import struct
import subprocess
import sys

import pytest

from sdg_helpers.checkpoints.plan import plan_shards, rank_bytes, read_checkpoint
from sdg_helpers.checkpoints.tensors import Checkpoint, Tensor, placement, read_header
from sdg_helpers.errors import SdgError
from tests.helpers.clone import ROOT
from tests.helpers.hub import Hub
from tests.helpers.stages import stage_at

CONFIG = {"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
SHAPES = {
    "model.embed_tokens.weight": (64, 16),
    "model.layers.0.self_attn.q_proj.weight": (16, 16),
    "model.layers.0.self_attn.k_proj.weight": (8, 16),
    "model.layers.0.self_attn.k_proj.bias": (8,),
    "model.layers.0.mlp.down_proj.weight": (16, 32),
    "model.layers.0.input_layernorm.weight": (16,),
    "model.layers.1.mlp.down_proj.weight": (16, 32),
    "lm_head.weight": (64, 16),
}


def write_checkpoint(folder):
    """A checkpoint of two real safetensors files of zeros, in two bytes a number."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    names = list(SHAPES)
    index = {}
    for number, part in enumerate((names[:3], names[3:]), 1):
        header, end = {}, 0
        for name in part:
            size = 2
            for length in SHAPES[name]:
                size *= length
            header[name] = {"dtype": "BF16", "shape": SHAPES[name], "data_offsets": [end, end + size]}
            end += size
            index[name] = f"model-{number:05d}-of-00002.safetensors"
        data = json.dumps(header).encode()
        (folder / f"model-{number:05d}-of-00002.safetensors").write_bytes(
            struct.pack("<Q", len(data)) + data + bytes(end)
        )
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def test_every_tensor_is_split_or_whole_by_its_name():
    model = Checkpoint("m", [], num_layers=2, num_kv_heads=2)
    cases = {
        "model.embed_tokens.weight": 8,
        "lm_head.weight": 8,
        "model.layers.0.self_attn.o_proj.weight": 8,
        "model.layers.0.self_attn.q_b_proj.weight_scale_inv": 8,
        "model.layers.1.mlp.experts.7.up_proj.weight": 8,
        "model.layers.1.mlp.shared_experts.down_proj.weight": 8,
        "model.layers.0.self_attn.v_proj.bias": 2,
        "model.layers.0.self_attn.q_a_proj.weight": 1,
        "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": 1,
        "model.layers.1.mlp.gate.weight": 1,
        "model.layers.1.mlp.gate.e_score_correction_bias": 1,
        "model.layers.0.self_attn.kv_a_layernorm.weight": 1,
        "model.norm.weight": 1,
        "model.layers.2.mlp.experts.7.up_proj.weight": 0,
    }
    assert {name: placement(Tensor(name, (8, 8), "BF16"), model, 8) for name in cases} == cases


def test_the_parts_of_a_folder_by_hand(tmp_path):
    model = read_checkpoint(str(write_checkpoint(tmp_path / "tiny")))
    # two ranks: halves of 2048 + 512 + 256 + 16 + 1024 + 2048 bytes, a norm of 32 bytes whole, a layer left out
    assert rank_bytes(model, 2) == {"split": 2952, "whole": 32, "skipped": 1024}
    # four ranks, but two heads of keys: these stay in halves
    assert rank_bytes(model, 4) == {
        "split": (2048 + 512 + 1024 + 2048) // 4 + (256 + 16) // 2,
        "whole": 32,
        "skipped": 1024,
    }


@pytest.mark.parametrize(
    "name, published, within",
    [("deepseek-ai/DeepSeek-R1-0528", 688_586_727_753, 2e-5), ("Qwen/Qwen2.5-32B-Instruct", 65_527_752_704, 0)],
)
def test_described_checkpoints_have_the_published_size(name, published, within):
    model = read_checkpoint(name)
    assert abs(model.bytes - published) <= within * published
    assert len({tensor.name for tensor in model.tensors}) == len(model.tensors)


def test_the_stage_plans_once(tmp_path):
    options = {"checkpoint": "deepseek-ai/DeepSeek-R1-0528", "tp_size": 16, "nodes": 2, "read_gb_per_s": 2.0}
    plan = plan_shards(stage_at(tmp_path / "c"), **options)["plan"]
    assert 42.0e9 < plan["bytes_a_rank"] < 44.0e9
    assert plan["load_s"]["every rank reads all"] > 15 * plan["load_s"]["every rank reads its shard"] > 2000
    assert plan_shards(stage_at(tmp_path / "c"), **options)["plan"] == plan
    for wrong, said in (
        ({"tp_size": 15}, "tp_size must be a multiple of nodes"),
        ({"nodes": 0}, "nodes must be 1 or more"),
        ({"read_gb_per_s": 0.0}, "read_gb_per_s must be above 0 .*, not 0"),
    ):
        with pytest.raises(SdgError, match=said):
            plan_shards(stage_at(tmp_path / "d"), **{**options, **wrong})


def test_a_model_of_the_hub_is_planned_from_its_headers(tmp_path):
    write_checkpoint(tmp_path / "hub" / "models" / "some" / "model")
    code = "import sys; from sdg_helpers.checkpoints.plan import *; print(rank_bytes(read_checkpoint(sys.argv[1]), 2))"
    with Hub(tmp_path / "hub") as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        done = [
            subprocess.run(
                [sys.executable, "-c", code, name], cwd=ROOT, env=environment, capture_output=True, text=True
            )
            for name in ("some/model", "some/other")
        ]
    assert done[0].stdout.strip() == "{'split': 2952, 'whole': 32, 'skipped': 1024}", done[0].stderr[-1500:]
    assert "cannot be read from the hub (RepositoryNotFoundError" in done[1].stderr.splitlines()[-1]


def test_broken_files_are_named(tmp_path):
    folder = write_checkpoint(tmp_path / "tiny")
    cut = folder / "model-00002-of-00002.safetensors"
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(SdgError, match="model-00002.*not a complete safetensors file"):
        read_checkpoint(str(folder))
    cut.write_bytes(b"\xff" * 100)
    with pytest.raises(SdgError, match="Download it again"):
        read_header(cut)
    cut.unlink()
    for text, said in (("{", "config.json: invalid JSON"), ("[]", "must be an object"), ("{}", "num_hidden_layers")):
        (folder / "config.json").write_text(text)
        with pytest.raises(SdgError, match=said):
            read_checkpoint(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(SdgError, match="has no config.json"):
        read_checkpoint(str(folder))
