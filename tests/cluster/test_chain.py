"""The notebooks of the math track on a real Slurm, with the scripted model: same files as on one machine."""

import os
import subprocess

import pytest

from tests.helpers.clone import ROOT, command, environment
from tests.helpers.standin import StandIn

PROFILE = """\
description: the scripted model
servers:
  solver: {{engine: endpoint, model: standin, base_url: "{url}", api_key_env: STANDIN_KEY}}
parameters:
  all: {{concurrency: 8}}
  math/03: {{num_seeds: 3}}
"""
JOBS = """\
jobs:
  all: {where: slurm, time_limit_min: 10, poll_s: 0.5, stop_before_limit_s: 30, pass_environment: [STANDIN_KEY]}
  generate: {nodes: 2, servers: 4, gpus_per_node: 8}
  judge: {nodes: 1, servers: 2}
"""


def data(run):
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted((run / "math").rglob("*"))
        if path.name.startswith(("problems.jsonl", "output-rs", "sft-data", "rl-data"))
    }


@pytest.mark.parametrize("first_kill", [None, "driver"])
def test_the_same_files_as_on_one_machine(slurm, tmp_path, first_kill):
    env = {
        **environment(),
        "SDG_OUTPUTS": str(tmp_path / "outputs"),
        "STANDIN_KEY": "secret-of-the-standin",
        "SLURM_CONF": os.environ["SLURM_CONF"],
    }
    with StandIn(accuracy=0.6, latency="0.02") as server:
        (tmp_path / "one.yaml").write_text(PROFILE.format(url=server.base_url))
        (tmp_path / "many.yaml").write_text(PROFILE.format(url=server.base_url) + JOBS)
        asked = []
        for name in ("one", "many"):
            words = command("run", "math", "--profile", str(tmp_path / f"{name}.yaml"), "--run", name, "--to", "07")
            server.reset()
            if first_kill and name == "many":
                kill_while_generating(words, env, tmp_path / "outputs" / name / "math" / "solutions")
            done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=400)
            assert done.returncode == 0, done.stdout + done.stderr
            asked.append(server.stats()["requests"])
    one, many = data(tmp_path / "outputs" / "one"), data(tmp_path / "outputs" / "many")
    assert one == many and len(one) >= 6
    assert asked[0] <= asked[1] <= asked[0] + 32  # at most what was in flight at a kill
    jobs = tmp_path / "outputs" / "many" / "math" / "solutions" / "jobs"
    assert (jobs / "jobs.jsonl").exists() and list((jobs / "logs").glob("*.log"))
    for stage in ("problems", "relabeled", "sft"):  # by one job each, not by the driver
        assert len(list((jobs.parents[1] / stage / "jobs" / "attempts").glob("*.json"))) == 1
    held = [
        path
        for path in (tmp_path / "outputs" / "many").rglob("*")
        if path.is_file() and b"secret-of-the-standin" in path.read_bytes()
    ]
    assert held == []


def kill_while_generating(words, env, stage):
    """kill -9 of `sdg run` once its first rows are there; its jobs keep running."""
    driver = subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((stage / "partial").glob("rs*/*.jsonl")):
        assert driver.poll() is None
    driver.kill()
    driver.wait()
