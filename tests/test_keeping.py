"""Servers between two rounds: they wait for their driver, and for no longer than that is of use."""

import os
import threading

import pytest

from sdg_helpers.cluster import keeping, this_job
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.leases.lease_folder import leases_of
from tests.helpers.watching import eventually

JOB = "77_1"


@pytest.fixture
def stage(tmp_path, monkeypatch):
    for name, value in (("ARRAY_JOB_ID", "77"), ("ARRAY_TASK_ID", "1"), ("JOB_ID", "78")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr(keeping, "_LOOK_S", 0.01)
    assert this_job.job_name() == JOB
    return tmp_path / "run" / "math" / "solutions"


def wait(stage, idle_s=3600.0):
    """Wait in a thread, as a job does; `.answer` is what it was told."""

    class Job(threading.Thread):
        answer = None

        def run(self):
            self.answer = keeping.wait_for_work(stage, leases_of(stage), idle_s)

    job = Job(daemon=True)
    job.start()
    return job


def told(job):
    job.join(30)
    return job.answer


def test_a_server_without_a_driver_that_keeps_it_ends(stage):
    assert not keeping.keep(stage) and told(wait(stage)) is False


def test_a_kept_server_waits_for_work_and_is_let_go_in_the_end(stage):
    with keeping.keep_servers():
        assert keeping.keep(stage) and keeping.keep(stage)
        assert eventually(lambda: list((stage / "jobs" / "kept").iterdir()))
        job = wait(stage)
        job.join(0.2)
        assert job.is_alive()
        leases_of(stage).create(["00000000-00000001"])
        assert told(job) is True
        leases_of(stage).create([])
        job = wait(stage)
    assert told(job) is False and not list((stage / "jobs" / "kept").iterdir())


def test_a_kept_server_does_not_wait_for_ever(stage):
    with keeping.keep_servers():
        keeping.keep(stage)
        assert eventually(lambda: list((stage / "jobs" / "kept").iterdir()))
        assert told(wait(stage, idle_s=0.05)) is False
        leases_of(stage).create([])
        leases_of(stage).drain(JOB)
        assert told(wait(stage)) is False


def test_a_dead_driver_is_noticed_and_replaced_by_the_next_one(stage, monkeypatch):
    monkeypatch.setattr(keeping, "EXPIRY_S", 0.2)
    kept = stage / "jobs" / "kept"
    kept.mkdir(parents=True)
    (kept / "driver-dead.57").touch()
    assert told(wait(stage)) is False
    with keeping.keep_servers():
        keeping.keep(stage)
        assert eventually(lambda: [path.name for path in kept.iterdir() if "dead" not in path.name])
        assert eventually(lambda: not (kept / "driver-dead.57").exists())


def test_only_live_jobs_are_busy(stage):
    live = [SlurmJob(JOB, 1, "x", "RUNNING"), SlurmJob("77_2", 2, "x", "RUNNING")]
    assert keeping.busy_jobs(stage, live) == set()
    with keeping.busy(stage):
        (stage / "jobs" / "busy" / "77_9").touch()  # of a job that was killed
        assert keeping.busy_jobs(stage, live) == {JOB}
        assert keeping.busy_jobs(stage, [SlurmJob(JOB, 1, "x", "PENDING")]) == set()
    assert os.listdir(stage / "jobs" / "busy") == ["77_9"]
    (stage / "jobs" / "busy" / JOB).touch()
    keeping.not_busy(stage)
    assert keeping.busy_jobs(stage, live) == set()
