"""The notebooks 01 to 04 on a private Slurm with SGLang itself: the checkpoint comes from a hub, two nodes shard it,
two nodes serve it from the shards, another job judges with a separate server."""

import json
import os
import shutil
import subprocess

import pandas as pd
import pytest
import yaml

from sdg_helpers import files
from sdg_helpers.serving.sglang.sharded import check_sharded
from sdg_helpers.solutions.reading import read_solutions
from tests.helpers.clone import ROOT, command, environment
from tests.helpers.hub import SHA, Hub
from tests.sglang.make_problems import PROMPT_JUDGE, PROMPT_SOLVE, write_problems


@pytest.fixture
def profile(spec, tmp_path):
    """A profile like the recipe's, with the smallest of models."""
    solver = spec(model=str(tmp_path / "models" / "adder-tp2"), tp_size=2, load_format="sharded_state")
    judge = spec(model=str(tmp_path / "models" / "adder"))
    jobs = {"where": "slurm", "time_limit_min": 60, "memory_gb": 16, "poll_s": 1, "pass_environment": ["HF_ENDPOINT"]}
    content = {
        "servers": {"solver": solver.model_dump(exclude_unset=True), "judge": judge.model_dump(exclude_unset=True)},
        "jobs": {"all": jobs, "shard": {"nodes": 2}, "generate": {"nodes": 2}},
        "parameters": {
            "math/01": {"source": str(write_problems(tmp_path / "sums.jsonl"))},
            "math/02": {"checkpoint": "org/adder", "tp_size": 2, "nodes": 2},
            "math/03": {"prompt": str(PROMPT_SOLVE), "num_seeds": 2, "temperature": 0.0, "max_tokens": 48},
            "math/04": {"prompt": str(PROMPT_JUDGE), "tiers": "exact", "max_tokens": 32},
        },
    }
    path = tmp_path / "tiny-cluster.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run(profile, env):
    words = command("run", "math", "--profile", str(profile), "--run", "real", "--to", "04")
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr


def submitted(track):
    """Submissions to Slurm by stage folder."""
    return {
        path.parent.parent.name: sum(row["event"] == "submitted" for row in files.read_jsonl(path))
        for path in track.rglob("jobs/jobs.jsonl")
    }


def test_download_shard_generate_judge(slurm, profile, tiny, tmp_path):  # noqa: F811
    shutil.copytree(tiny, tmp_path / "hub" / "models" / "org" / "adder")
    with Hub(tmp_path / "hub") as hub:
        env = {
            **environment(),
            "SDG_OUTPUTS": str(tmp_path / "outputs"),
            "HF_ENDPOINT": hub.url,
            "SLURM_CONF": os.environ["SLURM_CONF"],
            "HF_HOME": str(tmp_path / "hf"),
        }
        run(profile, env)
        track = tmp_path / "outputs" / "real" / "math"
        manifest = check_sharded(tmp_path / "models" / "adder-tp2", 2)
        assert manifest["source"] == {"repo": "org/adder", "commit": SHA} and manifest["nodes"] == 2
        jobs = submitted(track)
        assert jobs == {"checkpoint-download": 1, "checkpoint": 1, "solutions": 1, "judged": 1}
        rows = [*read_solutions(track / "solutions")]
        assert len(rows) == 24
        for row in rows:
            a, b = row["problem"].removesuffix("=?").split("+")
            assert row["generation"] == f"<think>\n{a}+{b}\n</think>\n\\boxed{{{int(a) + int(b)}}}"
        verdicts = pd.read_parquet(track / "judged" / "verdicts.parquet").groupby(["correct", "how"]).size().to_dict()
        assert verdicts == {(True, "exact"): 18, (False, "model"): 6}
        logs = sorted(path.name.partition("-rank")[2] for path in (track.parent / "servers").glob("*.log"))
        assert logs == ["0-server0.log", "0-server0.log", "0-shard.log", "1-server0.log", "1-shard.log"]
        run(profile, env)
        assert submitted(track) == jobs
    keys = [json.loads(path.read_text())["api-key"] for path in (track.parent / "servers").glob(".*.key.yaml")]
    told = [
        path for path in track.rglob("*") if path.is_file() and any(key.encode() in path.read_bytes() for key in keys)
    ]
    assert told == []
