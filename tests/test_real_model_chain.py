"""The math track with a real model on this machine. It is far too small for the problems, so its replies are what no
scripted server thinks of: thinking without an end, no box, repetition."""

import subprocess

import pytest

from sdg_helpers import files, runs
from tests.helpers.clone import ROOT, command, environment

pytestmark = pytest.mark.slow
PROFILE = """\
description: the smallest real model
servers:
  solver: {engine: embedded, model: smollm2-135m-instruct, slots: 4, context_length: 2048}
parameters:
  all: {num_seeds: 2}
  math/03_generate_solutions: {max_tokens: 200, max_unfinished_fraction: 1.0}
"""


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    """The math track of a finished run over the demo's problems."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "small.yaml").write_text(PROFILE)
    words = ("run", "math", "--profile", str(folder / "small.yaml"), "--run", "a", "--to", "07")
    env = {**environment(), "SDG_OUTPUTS": str(folder / "outputs")}
    done = subprocess.run(command(*words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return runs.Track(folder / "outputs" / "a" / "math", "math")


def test_every_stage_takes_whatever_a_model_writes(track):
    solved, judged = track.stage("solutions").require(), track.stage("judged").require()
    problems = track.stage("problems").require()["counts"]["rows_out"]
    assert solved["counts"]["rows_out"] == judged["counts"]["rows_in"] == 2 * problems
    assert sum(solved["thinking"].values()) == sum(judged["verdicts"].values()) == 2 * problems


def test_only_solutions_judged_right_are_exported(track):
    counts = track.stage("sft").require()["counts"]
    assert counts["rows_in"] == counts["rows_out"] + sum(counts["dropped"].values())
    for row in files.read_jsonl(track.sft / "sft-data-math.jsonl"):
        assert row["output"].startswith("<think>") and row["output"].count("</think>") == 1
