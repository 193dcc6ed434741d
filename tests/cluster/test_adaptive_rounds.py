"""Adaptive sampling on a real Slurm: the servers are kept between the rounds, so that no round waits for the queue."""

import os
import signal
import time

import pytest

from sdg_helpers import cluster
from sdg_helpers.adaptive.pass_rates import rounds_folder
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.jobs import JobSpec
from tests.helpers.adaptive_run import Adaptive
from tests.helpers.driving import SPEC
from tests.helpers.forks import exit_code, run_in_child
from tests.helpers.standin import StandIn
from tests.helpers.watching import eventually

JOBS = JobSpec(**{**SPEC, "servers": 2})


@pytest.fixture(scope="module")
def server():
    with StandIn(accuracy=0.5, latency="0.05") as server:
        yield server


@pytest.fixture(scope="module")
def calm(tmp_path_factory, server):
    """What the run makes on one machine, and how many requests that takes."""
    server.reset()
    run = Adaptive(tmp_path_factory.mktemp("calm"), server)
    rounds = len(run.solve()["growth"]) + 1
    assert rounds > 2
    return run.contents(), server.stats()["requests"]


def stages_of(run):
    solutions = run.track.stage("solutions")
    return solutions.folder, rounds_folder(solutions)


def submitted(folder):
    return [one for one in JobRecords(folder).submissions if one.fate == "submitted"]


def test_all_rounds_share_one_submission(slurm, tmp_path, server, calm):
    server.reset()
    run = Adaptive(tmp_path, server, JOBS)
    run.solve()
    assert (run.contents(), server.stats()["requests"]) == calm
    for folder in stages_of(run):
        assert len(submitted(folder)) == 1
        assert eventually(lambda folder=folder: not cluster.live_jobs(folder))
        assert not list((folder / "jobs" / "kept").iterdir()) and not list((folder / "jobs" / "busy").iterdir())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_driver_finds_the_servers_again(slurm, tmp_path, server, calm):
    server.reset()
    run = Adaptive(tmp_path, server, JOBS)
    solutions, rounds = stages_of(run)
    driver = run_in_child(run.solve)
    assert eventually(lambda: submitted(rounds), 120)
    os.kill(driver, signal.SIGKILL)
    exit_code(driver)
    time.sleep(2)
    run.solve()
    assert (run.contents(), server.stats()["requests"]) == calm
    assert len(submitted(solutions)) == len(submitted(rounds)) == 1


def test_a_server_that_waits_too_long_ends_and_the_next_round_starts_another(slurm, tmp_path, server, calm):
    server.reset()
    run = Adaptive(tmp_path, server, JOBS.model_copy(update={"keep_idle_min": 0}))
    run.solve()
    assert (run.contents(), server.stats()["requests"]) == calm
    assert all(len(submitted(folder)) > 1 for folder in stages_of(run))
