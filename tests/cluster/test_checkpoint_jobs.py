"""Stage 02 as the notebook asks for it: downloaded, sharded, once; here and as jobs of a private Slurm, where it is
then served from. Processes stand in for SGLang (tests/helpers/sglang_standin), one a node."""

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from sdg_helpers import files, runs
from sdg_helpers.checkpoints.shard_jobs import download_models, make_shards
from sdg_helpers.cluster import ranks
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.profiles import load_profile
from sdg_helpers.prompts import Prompt
from sdg_helpers.serving.sglang.sharded import check_sharded
from sdg_helpers.solutions.generate import generate_solutions
from sdg_helpers.solutions.reading import read_solutions
from tests.helpers.hub import SHA, Hub
from tests.helpers.stages import stage_at
from tests.helpers.watching import eventually

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def alone():
    ranks._group = None
    yield
    ranks._group = None


@pytest.fixture
def hub(tmp_path, monkeypatch):
    folder = tmp_path / "hub" / "models" / "org" / "adder"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with Hub(tmp_path / "hub") as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def open_run(tmp_path, jobs=None, **solver):
    """A run whose solver is the stand-in; jobs: the profile's section."""
    (tmp_path / "standin").mkdir(exist_ok=True)
    environment = {"STANDIN": str(tmp_path / "standin"), "PYTHONPATH": str(TESTS / "helpers" / "sglang_standin")}
    spec = {
        "engine": "sglang",
        "model": str(tmp_path / "models" / "adder-tp2"),
        "served_model_name": "adder",
        "tp_size": 2,
        "load_format": "sharded_state",
        "python": sys.executable,
        "environment": environment,
        "canary_question": "7+8",
        "canary_expects": r"\{15\}",
        "start_deadline_s": 60,
        "check_every_s": 0.5,
        **solver,
    }
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump({"servers": {"solver": spec}, "jobs": jobs or {}}))
    return runs.Run("run", tmp_path / "run", load_profile(str(tmp_path / "profile.yaml")))


def starts(tmp_path):
    return [line.split() for line in (tmp_path / "standin" / "starts").read_text().splitlines()]


def test_here(tmp_path, hub):
    run, told = open_run(tmp_path), []
    made = partial(make_shards, run, run.track("math").stage("checkpoint"), checkpoint="org/adder", tp_size=2)
    manifest = made(on_progress=lambda *both: told.append(both))
    assert manifest == check_sharded(tmp_path / "models" / "adder-tp2", 2) == made()
    assert manifest["source"] == {"repo": "org/adder", "commit": SHA} and told[-1] == (12, 12)
    assert len(starts(tmp_path)) == 2  # one writes the shards, one loads them
    assert (tmp_path / "models" / "adder" / "download.json").exists()


def judge_run(tmp_path, jobs=None):
    """A run whose judge is a model of the hub that belongs into a folder."""
    models = tmp_path / "models"
    judge = {"engine": "sglang", "model": str(models / "judge"), "served_model_name": "org/adder"}
    content = {"servers": {"solver": {**judge, "model": "org/adder"}, "judge": judge}, "jobs": jobs or {}}
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(content))
    return runs.Run("run", tmp_path / "run", load_profile(str(tmp_path / "judge.yaml"))), models / "judge"


def test_the_judge_is_downloaded_too(tmp_path, hub):
    run, folder = judge_run(tmp_path)
    stage = stage_at(tmp_path / "run" / "math" / "checkpoint")
    assert download_models(run, stage).keys() == {str(folder)}
    before = (folder / "download.json").stat().st_mtime_ns
    (folder / "model.safetensors").unlink()
    download_models(run, stage)  # it is not looked at again
    assert (folder / "download.json").stat().st_mtime_ns == before
    (folder / "download.json").unlink()
    download_models(run, stage)  # the download was interrupted
    assert (folder / "model.safetensors").exists()


def test_a_judge_that_somebody_put_there_is_left_alone(tmp_path):
    run, folder = judge_run(tmp_path)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert download_models(run, stage_at(tmp_path / "run" / "math" / "checkpoint")) == {str(folder): 2}


def test_the_judge_is_downloaded_in_a_job(slurm, tmp_path, hub):  # noqa: F811
    run, folder = judge_run(tmp_path, {"download": JOBS["all"]})
    download_models(run, stage_at(tmp_path / "run" / "math" / "checkpoint"))
    assert (folder / "download.json").exists()
    logs = tmp_path / "run" / "math" / "checkpoint-download-judge" / "jobs" / "logs"
    assert len(list(logs.glob("*.log"))) == 1


def test_a_folder_is_not_downloaded(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    manifest = make_shards(
        open_run(tmp_path), stage_at(tmp_path / "checkpoint"), checkpoint=str(tmp_path / "mine"), tp_size=2
    )
    assert manifest["source"]["folder"] == "mine"


def test_a_server_that_loads_its_model_as_it_is_needs_none(tmp_path):
    run = open_run(tmp_path, load_format="auto")
    assert make_shards(run, stage_at(tmp_path / "checkpoint"), checkpoint="org/adder", tp_size=16) is None


def test_notebook_and_profile_must_agree(tmp_path):
    with pytest.raises(SdgError, match=r"TP_SIZE is 16, but the profile's solver has tp_size 2"):
        make_shards(open_run(tmp_path), stage_at(tmp_path / "checkpoint"), checkpoint="org/adder", tp_size=16)


JOBS = {
    "all": {
        "where": "slurm",
        "time_limit_min": 10,
        "poll_s": 0.3,
        "stop_before_limit_s": 30,
        "pass_environment": ["HF_ENDPOINT"],
    },
    "shard": {"nodes": 2},
    "generate": {"nodes": 2, "servers": 2},
}


@pytest.mark.parametrize("victim", [None, "0", "1"])
def test_as_jobs_of_two_nodes_each(slurm, tmp_path, hub, victim):  # noqa: F811
    copies = {} if victim else {"local_copies": {"folder": str(tmp_path / "disk"), "max_gb": 1}}
    run = open_run(tmp_path, JOBS, **copies)
    track = tmp_path / "run" / "math"
    manifest = make_shards(run, stage_at(track / "checkpoint"), checkpoint="org/adder", tp_size=2)
    assert manifest["nodes"] == 2 and sorted(row[1] for row in starts(tmp_path)) == ["0", "0", "1", "1"]
    (tmp_path / "standin" / "starts").unlink()
    (tmp_path / "standin" / "slow").write_text("0.2")
    problems = tmp_path / "problems.jsonl"
    problems.write_bytes(b"".join(files.dumps({"id": f"{n:016x}", "problem": f"{n}+1"}) for n in range(60)))
    if victim:
        threading.Thread(target=kill_one, args=(tmp_path, track / "solutions", victim)).start()
    generate_solutions(
        problems,
        stage_at(track / "solutions"),
        open_server=partial(run.server, "solver"),
        model="adder",
        prompt=Prompt(name="bare", user="{problem}"),
        num_seeds=2,
        sampling=Sampling(max_tokens=9),
        limits=Limits(concurrency=4, timeout_s=60),
        jobs=run.jobs("generate"),
    )
    rows = [*read_solutions(track / "solutions")]
    assert len(rows) == 120 and all(row["generation"].endswith(f"\\boxed{{{int(row['id'], 16) + 1}}}") for row in rows)
    assert len(starts(tmp_path)) == (4 if victim is None else 6)  # two chunks, two nodes each; killed: both nodes anew
    logs = [path for path in (track / "solutions" / "jobs" / "logs").glob("*.log")]
    assert len(logs) == 2  # no job was submitted or requeued for it
    assert not any("Traceback" in path.read_text() for path in logs)
    if copies:  # the nodes share a disk here: the first of two jobs on each copies what that node loads
        said = [line for path in logs for line in path.read_text().splitlines() if "Copied " in line]
        assert len(said) == 2
        assert sorted(path.name for path in tmp_path.glob("disk/*/model-rank-*")) == [*manifest["files"]]
    assert all(gone(row[0]) for row in starts(tmp_path))


def kill_one(tmp_path, stage, node_rank):
    """kill -9 of a server's process on that node of its job, once rows come."""
    while not list((stage / "partial").glob("rs*/*.jsonl")):
        time.sleep(0.05)
    os.kill(int(next(row[0] for row in starts(tmp_path) if row[1] == node_rank)), signal.SIGKILL)


def gone(pid):
    return eventually(lambda: not Path(f"/proc/{pid}").exists())
