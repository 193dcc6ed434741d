"""A budget on a real Slurm: jobs that share it end by themselves, pending ones are cancelled, and the run goes on."""

import os
import subprocess

from sdg_helpers import cluster, files
from sdg_helpers.budgets.ledger import Ledger
from tests.cluster.test_chain import PROFILE
from tests.helpers.clone import ROOT, command, environment
from tests.helpers.standin import StandIn

JOBS = """\
jobs:
  all: {where: slurm, time_limit_min: 10, poll_s: 0.5, stop_before_limit_s: 30, pass_environment: [STANDIN_KEY]}
  generate: {nodes: 1, servers: 2}
"""


def test_jobs_stop_at_the_budget_and_the_run_goes_on(slurm, tmp_path):
    env = {
        **environment(),
        "SDG_OUTPUTS": str(tmp_path / "outputs"),
        "STANDIN_KEY": "x",
        "SLURM_CONF": os.environ["SLURM_CONF"],
    }
    with StandIn(accuracy=0.6, latency="1", size=300) as server:
        (tmp_path / "p.yaml").write_text(PROFILE.format(url=server.base_url) + JOBS)
        words = command("run", "math", "--profile", str(tmp_path / "p.yaml"), "--run", "a", "--to", "03")
        words += ["-p", "MAX_TOKENS", "400", "-p", "CONCURRENCY", "4"]
        done = subprocess.run([*words, "--budget", "2500 tokens"], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "no room for another request" in done.stderr and "Left in math/solutions: " in done.stderr
        run = tmp_path / "outputs" / "a"
        assert cluster.live_jobs(run / "math" / "solutions") == []
        spent, asked = Ledger(run).spent().completion_tokens, server.stats()
        assert spent == asked["completion_tokens"]
        assert 1250 < spent < 5000  # two servers see each other's use within a second or two: 700 tokens each
        done = subprocess.run([*words, "--budget", "none"], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        counts = files.read_json(run / "math" / "solutions" / "manifest.json")["counts"]
        assert counts["rows_out"] == counts["rows_in"] == server.stats()["requests"]
