"""Servers as jobs of a real Slurm: they share the problems, come and go while the stage runs, and lose nothing."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench.bad_days import OpenServer
from sdg_helpers import cluster, files
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.scaling import set_servers
from sdg_helpers.completions.request_bodies import RequestFit
from sdg_helpers.completions.types import Sampling
from sdg_helpers.leases.lease_folder import LeaseFolder, job_of
from tests.helpers.driving import SPEC, in_background
from tests.helpers.solving import generate, rows_of, write_problems
from tests.helpers.standin import StandIn
from tests.helpers.tokens import written_twice
from tests.helpers.watching import eventually, gone

PROBLEMS, SEEDS, CONCURRENCY = 60, 2, 4
TOTAL = PROBLEMS * SEEDS


@pytest.fixture
def server():
    with StandIn(latency="0.3") as standin:
        yield standin


@pytest.fixture
def problems(tmp_path):
    return write_problems(tmp_path / "run" / "problems.jsonl", PROBLEMS)


def solve(problems, stage, server, **spec):
    generate(
        problems,
        stage,
        server.base_url,
        num_seeds=SEEDS,
        concurrency=CONCURRENCY,
        open_server=OpenServer(server.base_url),
        jobs=JobSpec(**{**SPEC, **spec}),
    )


def check(stage, problems, server, again=0):
    """Complete, with the bytes of a stage without jobs, and at most so many requests asked again."""
    assert files.read_json(Path(stage) / "manifest.json")["counts"]["rows_out"] == TOTAL
    assert server.stats()["requests"] <= TOTAL + again
    with StandIn() as calm:
        generate(problems, stage.with_name("calm"), calm.base_url, num_seeds=SEEDS)
    assert rows_of(stage) == rows_of(stage.with_name("calm"))


def at_work(stage):
    """Return the jobs that hold blocks."""
    return {job_of(lease.owner) for lease in LeaseFolder(stage / "partial" / "leases").taken()}


def test_a_dead_server_is_replaced_while_the_others_take_its_blocks(stage, problems, server):
    driver = in_background(solve, problems, stage, server, servers=3, max_restarts=0)
    assert eventually(lambda: len(at_work(stage)) == 3)
    victim = min(at_work(stage))
    report = next((stage / "jobs" / "attempts").glob(f"*-{victim}-0-rank0.json"))
    os.kill(files.read_json(report)["pid"], signal.SIGKILL)
    driver.join(120)
    assert driver.error is None and not driver.is_alive()
    check(stage, problems, server, again=CONCURRENCY)


def test_servers_are_added_and_drained_midway(stage, problems):
    with StandIn(latency="3") as server:
        driver = in_background(solve, problems, stage, server, servers=1)
        assert eventually(lambda: len(at_work(stage)) == 1)
        set_servers(stage, 4)
        assert eventually(lambda: len(at_work(stage)) == 4)
        set_servers(stage, 1)
        assert eventually(lambda: len(at_work(stage)) <= 1)
        driver.join(300)
        assert driver.error is None and not driver.is_alive()
        check(stage, problems, server)


def test_servers_go_on_without_their_driver_and_the_next_one_joins_them(stage, problems, server):
    def interrupt(*_, **__):
        if len(at_work(stage)) == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("sdg_helpers.stages.Work.progress", interrupt)
        solve(problems, stage, server, servers=2)
    jobs = {job.job_id for job in cluster.live_jobs(stage)}
    time.sleep(1)
    solve(problems, stage, server, servers=2)
    assert set(JobRecords(stage).states) == jobs
    check(stage, problems, server)


def test_solutions_cut_at_the_time_limit_are_continued(stage, problems, tmp_path):
    """The limit comes in the middle of all replies: no token is written twice."""
    fit = RequestFit(continue_replies=True)
    how = {"num_seeds": 1, "sampling": Sampling(0.0, None, 4096), "concurrency": PROBLEMS}
    with StandIn(size=800, token_s=0.1, log_tokens=tmp_path / "tokens") as server:
        opener = OpenServer(server.base_url, request=fit)
        spec = JobSpec(**{**SPEC, "servers": 1, "stop_before_limit_s": 1})
        driver = in_background(generate, problems, stage, server.base_url, open_server=opener, jobs=spec, **how)
        assert eventually(lambda: size_of(stage / "partial" / "texts") > 200_000)
        os.kill(server.process.pid, signal.SIGSTOP)  # so that nothing is on its way when the limit comes
        size = -1
        while size != (size := size_of(stage / "partial" / "texts")):
            time.sleep(1)
        job = cluster.live_jobs(stage)[0]
        pid = files.read_json(next((stage / "jobs" / "attempts").glob("*-rank0.json")))["pid"]
        subprocess.run(["scontrol", "update", f"JobId={job.job_id}", "EndTime=now+1"], check=True)
        assert eventually(lambda: gone(pid))
        server.kill()
        server.again()
        driver.join(300)
        assert driver.error is None and not driver.is_alive()
    assert len(list((stage / "jobs" / "attempts").glob("*.json"))) >= 2
    assert files.read_json(stage / "manifest.json")["requests"]["continued"] > PROBLEMS // 2
    assert written_twice(tmp_path / "tokens", canaries=2) == 0
    with StandIn(size=800, token_s=0.001) as calm:
        opener = OpenServer(calm.base_url, request=fit)
        generate(problems, stage.with_name("calm"), calm.base_url, open_server=opener, **how)
    assert rows_of(stage) == rows_of(stage.with_name("calm"))


def size_of(folder):
    return sum(path.stat().st_size for path in folder.glob("*"))


def test_a_server_near_its_time_limit_finishes_what_it_has_sent(stage, problems):
    with StandIn(latency="2") as server:
        driver = in_background(solve, problems, stage, server, servers=1, stop_before_limit_s=60)
        assert eventually(lambda: server.stats()["requests"] >= CONCURRENCY)
        job = cluster.live_jobs(stage)[0]
        subprocess.run(["scontrol", "update", f"JobId={job.job_id}", "EndTime=now+61"], check=True)
        driver.join(300)
        assert driver.error is None and not driver.is_alive()
        assert len(list((stage / "jobs" / "attempts").glob("*.json"))) >= 2
        check(stage, problems, server)
