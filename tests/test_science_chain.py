"""The notebooks of the science track, as they are committed, one after the other: counts that add up, nothing twice."""

import subprocess

import pandas as pd
import pytest

from sdg_helpers import files, notebooks, runs
from tests.helpers.clone import ROOT, command, environment, shown_by
from tests.helpers.science import write_profile
from tests.helpers.stages import assert_named_once
from tests.helpers.standin import StandIn

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """(environment, run folder, server, profile) of a complete run of the track."""
    folder = tmp_path_factory.mktemp("chain")
    with StandIn(accuracy=0.7) as server:
        profile = write_profile(folder / "scripted.yaml", server.base_url)
        env = {**environment(), "SDG_OUTPUTS": str(folder / "outputs"), "HF_HUB_OFFLINE": "1"}
        done = sdg(env, "run", "science", "--profile", str(profile), "--run", "a")
        assert done.returncode == 0, done.stdout + done.stderr
        yield env, folder / "outputs" / "a", server, profile


def sdg(env, *words):
    return subprocess.run(command(*words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)


def counts(run, stage):
    return runs.Track(run / "science", "science").stage(stage).require()["counts"]


def test_the_funnel_adds_up_from_stage_to_stage(chain):
    _, run, _, _ = chain
    assert_named_once(runs.Track(run / "science", "science"))
    found = {stage: counts(run, stage) for stage in runs.Track(run / "science", "science").stages}
    for stage, one in found.items():
        assert one["rows_in"] == one["rows_out"] + sum(one["dropped"].values()), stage
    out = {stage: one["rows_out"] for stage, one in found.items()}
    assert out["written"] == found["questions"]["rows_in"] == 3 * 4 * 2 * 2 * 2
    assert found["problems"]["rows_in"] == out["questions"] + out["inspired"] == 3 * out["questions"]
    assert found["candidates"]["rows_in"] == found["clean"]["rows_in"] == out["problems"] > out["clean"]
    assert found["solutions"]["rows_in"] == 4 * out["clean"] and found["voted"]["rows_in"] == out["clean"]
    assert out["sft"] == out["published"] > 0
    assert {*found["sft"]["dropped"]} <= {"incorrect", "undecided", "duplicate"}
    assert found["clean"]["dropped"]["judged_same"] > 0 and found["problems"]["dropped"]["near_duplicate"] > 0


def test_the_rows_agree_with_the_votes(chain):
    _, run, _, _ = chain
    labels = pd.read_parquet(run / "science" / "voted" / "labels.parquet").set_index("id")
    rows = list(files.read_jsonl(run / "science" / "published" / "open-science.jsonl"))
    sft = list(files.read_jsonl(run / "science" / "sft" / "sft-data-science.jsonl"))
    assert len(rows) == len(sft)
    for row, other in zip(rows, sft, strict=True):
        assert row["expected_answer"] == other["expected_answer"] == labels.loc[row["id"], "expected_answer"]
        assert row["input"] in other["input"] and other["output"].startswith(row["output"])
        assert row["votes"] >= 2 and "</think>" in row["output"] and row["solved_by"] == "standin"
    contaminated = {
        row["id"] for row in files.read_jsonl(run / "science" / "clean" / "contamination.jsonl") if row["contaminated"]
    }
    assert contaminated and not contaminated & {row["id"] for row in rows}
    assert (run / "science" / "sft" / "rl-data-science.jsonl").exists()


def test_every_notebook_shows_something(chain):
    _, run, _, _ = chain
    for notebook in notebooks.discover():
        if notebook.track == "science":
            assert shown_by(run, notebook)


def test_second_run_requests_nothing(chain):
    env, run, server, profile = chain
    server.reset()
    done = sdg(env, "run", "science", "--profile", str(profile), "--run", "a")
    assert done.returncode == 0 and done.stdout.count("complete, nothing to do") == 5, done.stdout
    again = sdg(env, "run", "science", "--profile", str(profile), "--run", "a", "--from", "02", "--to", "03", "--again")
    assert again.returncode == 0 and server.stats()["requests"] == 0, again.stdout + again.stderr


def test_changed_benchmark_is_rejected(chain):
    env, _, _, profile = chain
    with open(profile.parent / "bench.jsonl", "ab") as out:
        out.write(files.dumps({"question": "One more?"}))
    done = sdg(env, "run", "science", "--run", "a", "--from", "03", "--to", "03")
    assert done.returncode == 1 and "input benchmark 1 (bench.jsonl): its content has changed" in done.stderr
    assert "sdg reset a science/candidates" in done.stderr
