"""The committed notebooks of the math track in order: exact counts, recorded bytes, nothing done twice."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sdg_helpers import files, notebooks, runs
from tests.helpers.clone import ROOT, command, environment, shown_by
from tests.helpers.stages import assert_named_once
from tests.helpers.standin import StandIn

# sha256 of what the scripted model's replies become. A change of one of these is a change of behaviour: it needs a
# reason in the commit, and users resume old runs beside new ones.
BYTES = {
    "solutions/output-rs0.jsonl": "bc617968bff11eb0d82c77a78c8c8b593b2dbafa9882595071a99f10d6d2b6ee",
    "solutions/output-rs1.jsonl": "b08043814aafc8dfe7fc2d2c2cd2df24cf85810b8f78a4446a73b636b3aa1e92",
    "solutions/output-rs2.jsonl": "63c5845f91ee988870df8191056a77034c46ae811a69d576c4899c5c1c6222a8",
    "solutions/output-rs3.jsonl": "d27eabc10873bee72c7dd044e0593e18dddb4ef7e9eee0c24c2df5c17e2c604d",
    "sft/sft-data-math.jsonl": "bb1149bd355692ef4a742151119ef418f9fef2d852754f7a4b2ee36340d2c8d3",
    "sft/sft-data-math-messages.jsonl": "12315f4fdd61ba63876c00d14b6211225b55894b63cadc5a61af8173830a12b0",
    "sft/rl-data-math.jsonl": "fb63c039330f4cf99cf451e07e923254c98dad817d5ba05c4e567d8e498f1bcf",
    "genselect_sft/sft-data-genselect.jsonl": "df4a5549043c4d860f4c6ae3159363c20828162b7d1b66fb83bfb915ed5b95cc",
}
pytestmark = pytest.mark.slow
KEY = "standin-secret-key-3141592653"
PROFILE = """\
description: the scripted model
servers:
  solver: {{engine: endpoint, model: standin, base_url: "{url}", api_key_env: STANDIN_KEY}}
parameters:
  all: {{concurrency: 16}}
  math/05_relabel_with_majority: {{relabel: majority}}  # the scripted model agrees with itself too seldom for the rest
"""


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """(environment, run folder, server, what was printed) of a complete run of the whole track."""
    folder = tmp_path_factory.mktemp("chain")
    with StandIn(accuracy=0.6) as server:
        (folder / "scripted.yaml").write_text(PROFILE.format(url=server.base_url))
        env = {**environment(), "SDG_OUTPUTS": str(folder / "outputs"), "STANDIN_KEY": KEY, "HF_HUB_OFFLINE": "1"}
        done = sdg(env, "run", "--profile", str(folder / "scripted.yaml"), "--run", "a")
        assert done.returncode == 0, done.stdout + done.stderr
        yield env, folder / "outputs" / "a", server, done.stdout


def sdg(env, *words):
    return subprocess.run(command(*words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)


def counts(run, stage):
    return runs.Track(run / "math", "math").stage(stage).require()["counts"]


def test_the_counts_add_up_from_stage_to_stage(chain):
    _, run, _, _ = chain
    assert_named_once(runs.Track(run / "math", "math"))
    assert counts(run, "problems") == {"rows_in": 41, "rows_out": 25, "dropped": {"repeated": 12, "converted_proof": 4}}
    assert counts(run, "solutions") == {"rows_in": 100, "rows_out": 100, "dropped": {}}
    for stage in ("judged", "rejudged"):
        assert counts(run, stage) == {"rows_in": 100, "rows_out": 100, "dropped": {}}
    sft = counts(run, "sft")
    verdicts = pd.read_parquet(run / "math" / "rejudged" / "verdicts.parquet")
    assert sft["rows_in"] == 100 and sft["rows_out"] == verdicts["correct"].sum() - sft["dropped"].get("duplicate", 0)
    assert sft["dropped"]["incorrect"] == (~verdicts["correct"].astype(bool)).sum()
    rows = list(files.read_jsonl(run / "math" / "sft" / "sft-data-math.jsonl"))
    assert len(rows) == sft["rows_out"] and all("</think>" in row["output"] for row in rows)


def test_the_same_replies_become_the_same_bytes(chain):
    _, run, _, _ = chain
    assert {name: hashlib.sha256((run / "math" / name).read_bytes()).hexdigest() for name in BYTES} == BYTES


def test_genselect_data_is_exported(chain):
    _, run, _, _ = chain
    drawn = files.read_json(run / "math" / "genselect_comparisons" / "manifest.json")
    sft = counts(run, "genselect_sft")
    rows = list(files.read_jsonl(run / "math" / "genselect_sft" / "sft-data-genselect.jsonl"))
    assert drawn["comparisons"] == sft["rows_in"] > 10 and len(rows) == sft["rows_out"] > 5
    assert all("Judgment: " in row["output"] for row in rows)


def test_every_notebook_was_executed_and_shows_something(chain):
    _, run, _, printed = chain
    for notebook in notebooks.discover():
        if notebook.track not in ("start", "math"):
            continue
        assert shown_by(run, notebook)
        assert notebook.title in printed
    assert {path.name[:2] for path in (run / "figures").glob("*.png")} == {f"{number:02d}" for number in range(9)}


def test_second_run_requests_and_executes_nothing(chain):
    env, run, server, _ = chain
    server.reset()
    profile = run.parent.parent / "scripted.yaml"
    done = sdg(env, "run", "--profile", str(profile), "--run", "a")
    shown = [line for line in done.stdout.splitlines() if "complete, nothing to do" in line]
    assert done.returncode == 0 and len(shown) == 9, done.stdout
    again = sdg(env, "run", "--profile", str(profile), "--run", "a", "--from", "03", "--to", "04", "--again")
    assert again.returncode == 0 and server.stats()["requests"] == 0


def test_a_notebook_runs_alone_by_plain_papermill(chain, tmp_path):
    env, run, _, _ = chain
    path = ROOT / "notebooks" / "math" / "05_relabel_with_majority.ipynb"
    words = [
        sys.executable,
        "-m",
        "papermill",
        str(path),
        str(tmp_path / "out.ipynb"),
        "-p",
        "RUN",
        "a",
        "-p",
        "PROFILE",
        str(run.parent.parent / "scripted.yaml"),
        "-p",
        "RELABEL",
        "majority",
        "--no-progress-bar",
    ]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    wrong = subprocess.run(
        [*words, "-p", "MIN_VOTE", "2"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert wrong.returncode != 0 and "Did you mean MIN_VOTES?" in wrong.stderr


def test_unknown_parameters_are_rejected_before_anything_starts(chain):
    env, run, server, _ = chain
    server.reset()
    done = sdg(env, "run", "math", "--profile", "demo", "--run", "b", "-p", "NUM_SEED", "3")
    assert done.returncode == 2 and "Did you mean NUM_SEEDS?" in done.stderr
    assert not (run.parent / "b").exists() and server.stats()["requests"] == 0


def test_changed_settings_of_a_finished_stage_are_rejected_with_the_options(chain):
    env, run, _, _ = chain
    done = sdg(env, "run", "math", "--run", "a", "--from", "03", "--to", "03", "-p", "TEMPERATURE", "0.7")
    assert done.returncode == 1 and "temperature: was 0.6, now 0.7" in done.stderr and "sdg reset a" in done.stderr
    assert sdg(env, "run", "math", "--run", "a", "--from", "03", "--to", "03").returncode == 0


def test_no_file_of_the_run_holds_the_key(chain):
    _, run, _, _ = chain
    holders = [path for path in Path(run).rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holders == []


def test_status_shows_every_stage(chain):
    env, _, _, _ = chain
    shown = sdg(env, "status", "a")
    assert shown.returncode == 0
    assert len([line for line in shown.stdout.splitlines() if " complete " in line]) >= 7
