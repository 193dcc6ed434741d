"""`sdg cluster check`: red for what cannot run, green before stage 02, and no job left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sdg_helpers.cluster import slurm as commands
from sdg_helpers.cluster.check import check_cluster
from sdg_helpers.profiles import load_profile
from tests.helpers.clone import ROOT, command, environment
from tests.helpers.watching import eventually

STANDIN = Path(__file__).resolve().parents[1] / "helpers" / "sglang_standin"


@pytest.fixture
def profile(slurm, tmp_path, monkeypatch):
    """Write the recipe's profile, changed: section.key=value, and load it."""
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.chdir(ROOT)

    def make(**changes):
        content = {
            "servers": {
                "solver": {
                    "engine": "sglang",
                    "model": str(tmp_path / "models" / "r1-tp16"),
                    "served_model_name": "r1",
                    "tp_size": 16,
                    "load_format": "sharded_state",
                    "context_length": 34768,
                    "python": sys.executable,
                    "environment": {"PYTHONPATH": str(STANDIN), "STANDIN": str(tmp_path)},
                }
            },
            "jobs": {
                "generate": {
                    "where": "slurm",
                    "nodes": 2,
                    "gpus_per_node": 8,
                    "time_limit_min": 30,
                    "poll_s": 0.5,
                    "stop_before_limit_s": 60,
                }
            },
            "parameters": {
                "math/01": {"max_problems": 100},
                "math/02": {"tp_size": 16, "nodes": 2},
                "math/03": {"max_tokens": 32768, "num_seeds": 4},
            },
        }
        for path, value in changes.items():
            section, role, key = path.split("__")
            content[section].setdefault(role.replace("_", "/"), {})[key] = value
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump(content))
        return load_profile(str(file))

    return make


def red(rows):
    return [row for row in rows if row["ok"] == "no"]


def test_the_recipe_is_green_before_its_shards_are_written(profile):
    rows = check_cluster(profile(), wait_min=5)
    assert red(rows) == []
    by = {row["what"].partition(", on n")[0]: row["found"] for row in rows}
    assert by["shards of the solver for tp_size 16"].endswith("not there yet; math/02_shard_checkpoint writes them")
    assert by["servers of generate: 1 × tp_size 16 on 2 nodes"] == "8 GPUs a node"
    on_node = {row["what"].partition(": ")[2]: row["found"] for row in rows if ", on n" in row["what"]}
    assert on_node[f"SGLang in {sys.executable}"] == "0.0.0"  # found through the server's own environment
    assert len([row for row in rows if row["what"].endswith("the outputs folder is shared")]) == 2  # on both nodes
    assert [found for what, found in on_node.items() if what.startswith("the first node, n")][0].startswith(
        "reached at"
    )


WRONG = [
    ({"partition": "mian"}, {}, "jobs of generate", "Did you mean main?"),
    ({"nodes": 6}, {"tp_size": 48}, "jobs of generate", "node"),
    ({"partition": "short"}, {}, "jobs of generate", "30 min is over that of partition short, 00:05:00"),
    ({"partition": "closed", "account": "me"}, {}, "jobs of generate", "closed is not open to account me"),
    ({"nodes": 1}, {}, "servers of generate", "needs 16 GPUs a node, but gpus_per_node is 8"),
    ({}, {"num_servers": 3, "tp_size": 4}, "servers of generate", "num_servers must divide"),
    ({}, {"context_length": 8192}, "context of the solver", "MAX_TOKENS 32768, besides the prompt"),
    ({"container_image": "/shared/x.sqsh"}, {}, "container /shared/x.sqsh", "no option --container-image"),
    ({"gpu_type": "b300"}, {}, "jobs of generate", "node configuration"),
    ({}, {"num_servers": 4, "tp_size": 8}, "servers of generate", "needs 16 GPUs a node"),
    ({}, {"tp_size": 8}, "shards of the solver for tp_size 8", "TP_SIZE 16"),
]


@pytest.mark.parametrize(("jobs", "server", "what", "said"), WRONG)
def test_what_cannot_run_is_red(profile, jobs, server, what, said):
    changes = {f"jobs__generate__{key}": value for key, value in jobs.items()}
    changes |= {f"servers__solver__{key}": value for key, value in server.items()}
    rows = check_cluster(profile(**changes), wait_min=1)
    assert [row for row in red(rows) if row["what"].startswith(what) and said in row["found"] + row["what to do"]], rows
    assert all(row["what to do"] for row in red(rows)) and not [row for row in rows if ", on n" in row["what"]]


def test_a_killed_check_leaves_no_job(profile, tmp_path):
    profile(jobs__generate__sbatch={"hold": True})  # its job stays pending
    words = command("cluster", "check", "--profile", str(tmp_path / "mine.yaml"))
    env = {**environment(), "SDG_OUTPUTS": os.environ["SDG_OUTPUTS"], "SLURM_CONF": os.environ["SLURM_CONF"]}
    check = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pending():
        return commands.run_command("squeue", "--noheader", "--format=%j").split()

    assert eventually(lambda: any("check" in name for name in pending()), 120)
    check.send_signal(signal.SIGTERM)
    check.wait(60)
    assert eventually(lambda: not pending()) and not list((tmp_path / "outputs").glob(".check-*"))
