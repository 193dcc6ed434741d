"""Which node is to blame when jobs fail at once, and what a long life gives back."""

import time

import pytest

from sdg_helpers import files
from sdg_helpers.cluster.bad_nodes import BadNodes
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob


@pytest.fixture
def records(tmp_path):
    stage = tmp_path / "run" / "math" / "s"
    stage.mkdir(parents=True)
    with JobRecords.open(stage) as opened:
        yield opened


def ran(records, name, state, node="n1", seconds=5, reason=""):
    """Record that a job runs since a while; return the job as it is now."""
    records.append("state", job=name, name="x", chunk=0, state="RUNNING", nodes=node, reason="")
    records.states[name]["at"] = time.time() - seconds
    return SlurmJob(name, 0, "x", state, "" if state == "PENDING" else node, "0:05", reason)


@pytest.mark.filterwarnings("ignore:2 jobs failed")
@pytest.mark.parametrize(
    "jobs, excluded",
    [
        ([("1", "FAILED"), ("2", "FAILED")], ["n1"]),
        ([("1", "FAILED")], []),  # once may be chance
        ([("1", "FAILED"), ("2", "FAILED", "n2")], []),
        ([("1", "PENDING"), ("2", "NODE_FAIL")], ["n1"]),  # requeued
        ([("1", "FAILED", "n1", 500), ("2", "FAILED", "n1", 500)], []),  # not at once
        ([("1", "CANCELLED"), ("2", "CANCELLED")], []),
        ([("1", "FAILED"), ("2", "FAILED"), ("3", "RUNNING", "n1", 500)], []),  # another one runs well there
    ],
)
def test_a_node_is_left_out_when_jobs_fail_there_at_once(records, monkeypatch, jobs, excluded):
    monkeypatch.setattr("sdg_helpers.cluster.slurm.run_command", lambda *words: "")
    BadNodes(records).look([ran(records, *job) for job in jobs])
    assert records.excluded == excluded == JobRecords(records.stage).excluded


@pytest.mark.parametrize("seconds, excluded", [(5, ["n1"]), (500, [])])
@pytest.mark.filterwarnings("ignore:2 jobs failed")
def test_a_requeued_job_may_be_seen_while_it_completes(records, monkeypatch, seconds, excluded):
    monkeypatch.setattr("sdg_helpers.cluster.slurm.run_command", lambda *words: "")
    nodes = BadNodes(records)
    for state in ("COMPLETING", "PENDING"):
        jobs = [SlurmJob(job, 0, "x", state, "" if state == "PENDING" else "n1") for job in "12"]
        for job in jobs if state == "COMPLETING" else []:
            ran(records, job.job_id, state, seconds=seconds)
        nodes.look(jobs)
        for job in jobs:
            records.append("state", job=job.job_id, name="x", chunk=0, state=state, nodes=job.nodes, reason="")
    assert records.excluded == excluded


@pytest.mark.filterwarnings("ignore:2 jobs failed")
def test_restarts_between_two_looks_count_and_later_waits_are_redirected(records, monkeypatch):
    told = []
    monkeypatch.setattr("sdg_helpers.cluster.slurm.run_command", lambda *words: told.append(words[-1]) or "")
    nodes = BadNodes(records)
    ran(records, "1", "RUNNING", seconds=60)
    for _ in range(2):  # started again 5 s ago, where it was last seen to start 30 to 60 s ago
        nodes.look([SlurmJob("1", 0, "x", "RUNNING", "n1", "0:05")])
        started, node = nodes._starts["1"]
        nodes._starts["1"] = (started - 30, node)
    assert records.excluded == ["n1"] and not told  # it runs: nothing to redirect yet
    for _ in range(2):
        nodes.look([SlurmJob("1", 0, "x", "PENDING"), SlurmJob("2", 0, "x", "PENDING")])
    assert told == ["ExcNodeList=n1"] * 2  # each of the two once


@pytest.mark.filterwarnings("ignore:2 jobs failed")
def test_only_the_node_that_reported_itself_unfit_is_left_out(records, monkeypatch):
    monkeypatch.setattr("sdg_helpers.cluster.slurm.run_command", lambda *words: "n1 n2")
    for job in "12":
        report = {"job": job, "restart": 0, "unfit_node": "n2"}
        files.write_json(records.folder / "attempts" / f"0000-{job}-0-rank1.json", report)
    BadNodes(records).look([ran(records, job, "FAILED", "n[1-2]") for job in "12"])
    assert records.excluded == ["n2"]


@pytest.mark.parametrize(
    "elapsed, seconds", [("", 0), ("0:05", 5), ("1:02:03", 3723), ("2-01:00:00", 176400), ("INVALID", 0)]
)
def test_how_long_a_job_has_run(elapsed, seconds):
    assert SlurmJob("1", 0, "x", "RUNNING", elapsed=elapsed).seconds == seconds
