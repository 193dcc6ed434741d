"""The notebooks of the code track, as they are committed, one after the other: every verdict right, nothing twice."""

import re
import subprocess
from collections import Counter

import pandas as pd
import pytest

from sdg_helpers import files, notebooks, runs
from sdg_helpers.solutions.reading import read_solutions
from tests.helpers.clone import ROOT, command, environment, shown_by
from tests.helpers.programs import needs_sandbox
from tests.helpers.stages import assert_named_once
from tests.helpers.standin import StandIn
from tests.helpers.standin_code import SPOILT, write_problems

PROFILE = """\
description: the scripted model
servers:
  solver: {{engine: endpoint, model: standin, base_url: "{url}"}}
parameters:
  all: {{concurrency: 16}}
  code/01_prepare_questions: {{source: "{source}"}}
  code/02_generate_solutions: {{prompt: code/solve, num_seeds: 3}}
  code/04_check_by_running: {{check: "{check}", time_limit_s: 1.0}}
"""
pytestmark = pytest.mark.slow
CHECKS = [pytest.param("yes", marks=needs_sandbox), "no"]
FOUND_BY_RUNNING = {"wrong", "slow"}


@pytest.fixture(scope="module", params=CHECKS)
def chain(request, tmp_path_factory):
    """(environment, run folder, server, check) of a complete run of the track."""
    folder = tmp_path_factory.mktemp("chain")
    write_problems(folder / "sums.jsonl", 24)
    with StandIn(accuracy=0.5) as server:
        (folder / "scripted.yaml").write_text(
            PROFILE.format(url=server.base_url, source=folder / "sums.jsonl", check=request.param)
        )
        env = {**environment(), "SDG_OUTPUTS": str(folder / "outputs")}
        done = sdg(env, "run", "code", "--profile", str(folder / "scripted.yaml"), "--run", "a")
        assert done.returncode == 0, done.stdout + done.stderr
        yield env, folder / "outputs" / "a", server, request.param


def sdg(env, *words):
    return subprocess.run(command(*words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)


def test_every_solution_gets_its_reason_and_the_funnel_adds_up(chain):
    _, run, _, check = chain
    track = runs.Track(run / "code", "code")
    assert_named_once(track)
    counts = {stage: track.stage(stage).require()["counts"] for stage in track.stages}
    for stage, one in counts.items():
        assert one["rows_in"] == one["rows_out"] + sum(one["dropped"].values()), stage
    assert counts["problems"]["rows_out"] == 24
    assert [counts[stage]["rows_in"] for stage in ("solutions", "filtered", "checked", "sft")] == [144] * 4
    ways, right = Counter(), 0
    verdicts = pd.read_parquet(track.checked / "verdicts.parquet").set_index(["id", "seed"])
    for row in read_solutions(track.solutions):
        how, verdict = re.search("plan: (.*)", row["generation"])[1], verdicts.loc[(row["id"], row["seed"])]
        ways[how] += 1
        passes = how == "right" or (how in FOUND_BY_RUNNING and check == "no")
        right += passes
        expected = ("tests" if check == "yes" else "filter") if passes else SPOILT[how]
        assert (verdict["how"], bool(verdict["correct"])) == (expected, passes), row["generation"]
    assert set(ways) == {"right", *SPOILT}
    sft = list(files.read_jsonl(track.sft / "sft-data-code.jsonl"))
    assert len(sft) == right - counts["sft"]["dropped"].get("duplicate", 0)
    assert all("</think>" in row["output"] and f"```{row['language']}" in row["output"] for row in sft)
    card = (track.sft / "README.md").read_text()
    assert ("run on their example tests in a sandbox" in card) == (check == "yes")


def test_pass_rates_are_those_of_the_verdicts(chain):
    _, run, _, _ = chain
    verdicts = pd.read_parquet(run / "code" / "checked" / "verdicts.parquet")
    rates = pd.read_parquet(run / "code" / "checked" / "pass_rates.parquet").set_index("id")["pass_rate"]
    assert rates.to_dict() == verdicts.groupby("id")["correct"].mean().to_dict() and rates.between(0.01, 0.99).any()


def test_every_notebook_shows_something(chain):
    _, run, _, _ = chain
    for notebook in notebooks.discover():
        if notebook.track == "code":
            assert shown_by(run, notebook)


def test_second_run_does_nothing(chain):
    env, run, server, _ = chain
    server.reset()
    done = sdg(env, "run", "code", "--run", "a")
    assert done.returncode == 0 and done.stdout.count("complete, nothing to do") == 5, done.stdout + done.stderr
    assert server.stats()["requests"] == 0
