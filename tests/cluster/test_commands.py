"""sdg's cluster commands on a real Slurm: a submitted driver, cancel, status with jobs, cluster check."""

import os
import subprocess
import sys

import pytest

from sdg_helpers import cluster, files, runs
from sdg_helpers.cluster.check import check_cluster
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.errors import SdgError
from sdg_helpers.profiles import load_profile
from sdg_helpers.runs import status
from tests.helpers import chunk_work as work
from tests.helpers.clone import PROFILE, command, environment, make_clone
from tests.helpers.driving import in_background, interrupted, run, when_running
from tests.helpers.watching import eventually

JOBS = """
jobs:
  all: {where: slurm, time_limit_min: 10, poll_s: 0.5, stop_before_limit_s: 30}
  driver: {cpus_per_task: 1}
"""


@pytest.fixture
def clone(slurm, tmp_path, monkeypatch):
    """A small clone with a profile for the cluster, and a separate outputs folder."""
    folder = make_clone(tmp_path / "clone")
    (folder / "notebooks" / "profiles" / "demo.yaml").write_text(PROFILE + JOBS)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path / "outputs"))
    return folder


def sdg(clone, *words):
    env = {**environment(), "SDG_OUTPUTS": os.environ["SDG_OUTPUTS"], "SLURM_CONF": os.environ["SLURM_CONF"]}
    return subprocess.run(command(*words), cwd=clone, env=env, capture_output=True, text=True, timeout=300)


def test_a_submitted_driver_runs_the_notebooks_and_survives_a_requeue(clone, tmp_path):
    done = sdg(clone, "run", "start", "math", "--run", "a", "--submit", "-p", "SLEEP_S", "1", "-p", "NUM_SEEDS", "12")
    assert done.returncode == 0 and "Submitted as job" in done.stdout, done.stderr
    again = sdg(clone, "run", "start", "math", "--run", "a", "--submit")
    assert again.stdout.split("job ")[1].split(";")[0] == done.stdout.split("job ")[1].split(";")[0]
    driver, solutions = tmp_path / "outputs" / "a" / "driver", tmp_path / "outputs" / "a" / "math" / "solutions"
    assert eventually(lambda: (solutions / "progress.json").exists(), 120)
    subprocess.run(["scontrol", "requeue", cluster.live_jobs(driver)[0].job_id], check=True)
    assert eventually(lambda: (solutions / "manifest.json").exists(), 120)
    assert eventually(lambda: not cluster.live_jobs(driver), 120)
    log = next((driver / "jobs" / "logs").glob("*.log")).read_text()
    assert "Complete. Executed notebooks" in log and "03 generate solutions" in log


def test_a_local_driver_cannot_be_submitted(clone):
    (clone / "notebooks" / "profiles" / "demo.yaml").write_text(PROFILE)
    done = sdg(clone, "run", "math", "--run", "a", "--submit")
    assert done.returncode == 2 and "needs `where: slurm` for the role driver" in done.stderr


def test_status_shows_rows_and_jobs_and_cancel_ends_the_jobs(clone, tmp_path):
    opened = runs.open_run("a")
    stage = opened.track("math").solutions
    stage.mkdir(parents=True)
    files.write_json(stage / "begun.json", {"stage": "solutions", "parameters": {}, "inputs": {}})
    files.write_json(stage / "progress.json", {"done": 3, "total": 12})
    driver = in_background(run, stage, {"servers": 2}, row_s=1.0)
    when_running(stage, 2)
    found = {one.stage: one for one in status.run_status(opened.folder)}["solutions"]
    assert found.state == "at work" and found.detail.startswith("3/12 rows") and "jobs: 2 running" in found.detail
    done = sdg(clone, "cancel", "a")
    assert done.returncode == 0 and "2 jobs cancelled" in done.stdout
    driver.join(60)
    assert "it was cancelled; run again" in str(driver.error) and work.rows_of(stage)


def test_reset_is_refused_while_an_interrupted_drivers_jobs_are_live(clone):
    opened = runs.open_run("a")
    stage = opened.track("math").solutions
    stage.mkdir(parents=True)
    interrupted(stage, {"servers": 2}, row_s=2.0)
    job_id = cluster.live_jobs(stage)[0].job_id
    # before asking for confirmation, and also when the live jobs belong to a later stage
    for words in (["math/solutions"], ["math/problems", "--yes"]):
        done = sdg(clone, "reset", "a", *words)
        assert done.returncode == 2 and f"{job_id} of math/solutions (running)" in done.stderr
        assert "`sdg cancel a`" in done.stderr and JobRecords(stage).names
    assert sdg(clone, "cancel", "a").returncode == 0
    assert eventually(lambda: not cluster.live_jobs(stage), 120)
    done = sdg(clone, "reset", "a", "math/solutions", "--yes")
    assert done.returncode == 0 and not stage.exists(), done.stderr


def test_a_missing_variable_of_pass_environment_is_an_error(stage):
    with pytest.raises(SdgError, match="pass_environment: NO_SUCH_VARIABLE is not set"):
        run(stage, {"pass_environment": ["NO_SUCH_VARIABLE"]})
    assert cluster.live_jobs(stage) == []


def rows_of_check(clone, text):
    (clone / "notebooks" / "profiles" / "mine.yaml").write_text(text)
    return check_cluster(load_profile("mine"), wait_min=1)


def test_the_check_covers_slurm_and_a_node(clone, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    text = (
        f"servers:\n  solver: {{engine: sglang, model: {model}, python: {sys.executable}, tp_size: 16}}\n"
        + JOBS
        + ("  generate: {nodes: 2, gpus_per_node: 8}\nparameters: {math/03: {NUM_SEEDS: 1}}\n")
    )
    rows = rows_of_check(clone, text)
    by = {row["what"]: row for row in rows}
    accepted = [row for what, row in by.items() if what.startswith("jobs of")]
    assert len(accepted) == 6 and all(row["ok"] == "yes" for row in accepted)
    on_node = {what.partition(": ")[2]: row for what, row in by.items() if what.startswith("generate, on n")}
    assert {row["ok"] for name, row in on_node.items() if not name.startswith("SGLang")} == {"yes"}
    assert f"model {model}" in on_node and "a GPU" in on_node
    assert not list((tmp_path / "outputs").glob(".check-*"))


def test_a_failed_check_names_the_key_and_submits_nothing(clone):
    text = "servers: {solver: {engine: endpoint, model: m}}\njobs:\n  all: {where: slurm, partition: mian}\n"
    rows = rows_of_check(clone, text)
    bad = [row for row in rows if row["ok"] == "no" and row["what"].startswith("jobs of")]
    assert len(bad) == 6 and all("Did you mean main?" in row["what to do"] for row in bad)
    assert not [row for row in rows if ", on n" in row["what"]]
    done = sdg(clone, "cluster", "check", "--profile", "mine")
    assert done.returncode == 2 and "checks failed" in done.stderr and "partition" in done.stdout


def test_a_profile_error_stops_the_run_before_anything_is_submitted(clone):
    (clone / "notebooks" / "profiles" / "demo.yaml").write_text(PROFILE + "jobs: {generate: {where: slurm, node: 2}}\n")
    done = sdg(clone, "run", "math", "--run", "a")
    assert done.returncode == 2 and "unknown key jobs.generate.node. Did you mean nodes?" in done.stderr
    (clone / "notebooks" / "profiles" / "demo.yaml").write_text(PROFILE + "jobs: {generate: {nodes: 2}}\n")
    done = sdg(clone, "run", "math", "--run", "a")
    assert done.returncode == 2 and "2 nodes need `where: slurm`" in done.stderr


def test_a_command_of_ones_own_runs_when_its_stage_is_complete(clone, tmp_path):
    (clone / "notebooks" / "profiles" / "demo.yaml").write_text(PROFILE + JOBS + "  cpu: {cpus_per_task: 1}\n")
    assert sdg(clone, "run", "math", "--run", "a", "--to", "01").returncode == 0
    out = tmp_path / "outputs" / "a" / "seen"
    words = ["--", "sh", "-c", 'ls "$SDG_RUN_FOLDER/math/problems/manifest.json" >"$SDG_RUN_FOLDER/seen"']
    done = sdg(clone, "submit", "a", "--after", "problems", *words)
    assert done.returncode == 0 and "when math/problems is complete" in done.stdout, done.stderr
    assert eventually(out.exists, 60) and eventually(lambda: "manifest.json" in out.read_text(), 60)
    waits = sdg(clone, "submit", "a", "--after", "math/solutions", "--", "touch", str(tmp_path / "early"))
    assert waits.returncode == 0
    assert eventually(lambda: sdg(clone, "cancel", "a").stdout.count("submitted/math-solutions") == 1, 60)
    assert not (tmp_path / "early").exists()


def test_a_command_of_ones_own_needs_slurm(clone):
    (clone / "notebooks" / "profiles" / "demo.yaml").write_text(PROFILE)
    assert sdg(clone, "run", "math", "--run", "a", "--to", "01").returncode == 0
    done = sdg(clone, "submit", "a", "--after", "problems", "--", "true")
    assert done.returncode == 2 and "needs `where: slurm` for the role cpu" in done.stderr
