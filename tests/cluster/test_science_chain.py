"""The notebooks of the science track on a real Slurm, with the scripted model: the same files as on one machine."""

import os
import subprocess

from tests.helpers.clone import ROOT, command, environment
from tests.helpers.science import write_profile
from tests.helpers.standin import StandIn

JOBS = """\
jobs:
  all: {where: slurm, time_limit_min: 10, poll_s: 0.5, stop_before_limit_s: 30}
  generate: {nodes: 2, servers: 3, gpus_per_node: 8}
  judge: {nodes: 1, servers: 2}
"""
WRITTEN = (
    "questions.jsonl",
    "problems.jsonl",
    "dropped.jsonl",
    "contamination.jsonl",
    "output-rs",
    "sft-data",
    "open-science.jsonl",
)


def test_the_same_files_as_on_one_machine(slurm, tmp_path):
    env = {**environment(), "SDG_OUTPUTS": str(tmp_path / "outputs"), "SLURM_CONF": os.environ["SLURM_CONF"]}
    made = {}
    with StandIn(accuracy=0.7) as server:
        for name, jobs in (("one", ""), ("many", JOBS)):
            profile = write_profile(tmp_path / f"{name}.yaml", server.base_url, jobs)
            server.reset()
            words = command("run", "science", "--profile", str(profile), "--run", name)
            done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=500)
            assert done.returncode == 0, done.stdout + done.stderr
            made[name] = server.stats()["requests"], data(tmp_path / "outputs" / name / "science")
    assert made["one"] == made["many"] and len(made["one"][1]) >= 14
    for stage in ("expanded", "written", "inspired", "compared", "solutions"):
        jobs = tmp_path / "outputs" / "many" / "science" / stage / "jobs"
        assert (jobs / "jobs.jsonl").exists() and list((jobs / "logs").glob("*.log")), stage


def data(track):
    return {
        path.relative_to(track).as_posix(): path.read_bytes()
        for path in sorted(track.rglob("*"))
        if path.name.startswith(WRITTEN)
    }
