"""Chunks as jobs of a real Slurm: every bad day that we know, once; the rows are right afterwards, none twice."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from sdg_helpers import cluster
from sdg_helpers.cluster import slurm as slurm_commands
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.errors import SdgError
from tests.helpers import chunk_work as work
from tests.helpers.clone import ROOT
from tests.helpers.driving import in_background, interrupted, run, when_running


def complete(stage):
    return work.rows_of(stage) == list(range(work.ROWS))


def test_chunks_are_an_array_and_all_is_done(stage):
    run(stage)
    assert complete(stage)
    records = JobRecords(stage)
    assert [one.fate for one in records.submissions] == ["submitted"]
    assert {event["state"] for event in records.states.values()} == {"COMPLETED"}
    run(stage)  # nothing left: nothing submitted
    assert len(JobRecords(stage).submissions) == 1


def test_a_job_over_two_nodes_works_on_its_first(stage):
    run(stage, {"nodes": 2, "num_chunks": 2})
    assert complete(stage)


@pytest.mark.parametrize("trouble", ["killed", "raises"])
def test_work_that_dies_is_started_again(stage, trouble):
    run(stage, {"num_chunks": 2}, trouble=trouble)
    assert complete(stage)


def test_an_error_that_no_try_mends_is_told_at_once_with_its_log(stage):
    with pytest.raises(SdgError) as told:
        run(stage, {"num_chunks": 1}, trouble="bad input")
    said = str(told.value)
    assert "expected better input, found this" in said and "FAILED" in said and "fix what the error names" in said
    assert len(JobRecords(stage).submissions) == 1
    run(stage, {"num_chunks": 1})
    assert complete(stage)


@pytest.mark.parametrize(
    "spec, said",
    [
        ({"partition": "mian"}, "Did you mean main?"),
        ({"partition": "short", "time_limit_min": 60}, "time_limit_min=60"),
        ({"gpus_per_node": 9}, "gpus_per_node=9"),
        ({"nodes": 5}, "nodes=5"),
    ],
)
def test_what_sbatch_refuses_is_named_and_nothing_is_submitted(stage, spec, said):
    with pytest.raises(SdgError, match="Slurm refused the job|were cancelled") as told:
        run(stage, spec)
    assert said in str(told.value) or "were cancelled" in str(told.value)
    assert cluster.live_jobs(stage) == [] and work.rows_of(stage) == []


def test_scancel_by_hand_is_told_and_the_next_run_goes_on(stage):
    driver = in_background(run, stage, {"num_chunks": 2}, row_s=0.5)
    job = when_running(stage)[0]
    subprocess.run(["scancel", job.job_id], check=True)
    driver.join(60)
    assert "it was cancelled; run again" in str(driver.error)
    run(stage, {"num_chunks": 2})
    assert complete(stage)


def test_requeue_by_hand_and_preemption_cost_nothing_but_time(stage):
    driver = in_background(run, stage, {"num_chunks": 1, "partition": "low", "exclusive": True, "nodes": 2}, row_s=0.5)
    job = when_running(stage)[0]
    subprocess.run(["scontrol", "requeue", job.job_id], check=True)
    time.sleep(1)
    when_running(stage)
    subprocess.run(
        ["srun", "--partition=high", "--nodes=4", "--exclusive", "--time=1", "sleep", "2"],
        check=True,
        capture_output=True,
    )
    driver.join(120)
    assert not driver.is_alive() and driver.error is None and complete(stage)


HELD = {"sbatch": {"hold": True}}


def test_a_job_that_waits_for_ever_is_refused(stage):
    with pytest.raises(SdgError, match="has been pending .*pending_deadline_min.*were cancelled"):
        run(stage, {"num_chunks": 1, **HELD, "pending_deadline_min": 0.03})
    assert cluster.live_jobs(stage) == []


def test_another_driver_goes_on_counting_how_long_a_job_waits(stage):
    interrupted(stage, {"num_chunks": 1, **HELD}, "PENDING")
    time.sleep(2)
    began = time.time()
    with pytest.raises(SdgError, match="pending_deadline_min"):
        run(stage, {"num_chunks": 1, **HELD, "pending_deadline_min": 0.03, "poll_s": 30})
    assert time.time() - began < 20  # at its first look


def test_jobs_that_wait_for_each_other_do_not_wait_for_ever(stage):
    reasons = set()
    run(
        stage,
        {"num_chunks": 2, "max_parallel": 1, "dependent_jobs": 1, "pending_deadline_min": 4 / 60},
        lambda jobs: reasons.update(job.reason for job in jobs),
        row_s=1.0,
    )
    assert complete(stage) and reasons >= {"Dependency", "JobArrayTaskLimit"}


def test_a_job_that_ran_and_was_requeued_has_not_waited_since_it_was_submitted(stage):
    deadline_s, reasons = 4, set()
    driver = in_background(
        run,
        stage,
        {"num_chunks": 1, "pending_deadline_min": deadline_s / 60},
        lambda jobs: reasons.update(job.reason for job in jobs),
        row_s=1.0,
    )
    job = when_running(stage)[0]
    time.sleep(deadline_s)
    subprocess.run(["scontrol", "requeue", job.job_id], check=True)
    driver.join(120)
    assert not driver.is_alive() and driver.error is None and complete(stage) and "BeginTime" in reasons


DRIVER = """\
import sys
from pathlib import Path
from tests.helpers.driving import run
run(Path(sys.argv[1]), {"num_chunks": int(sys.argv[2])}, row_s=0.4)
"""


def driver_process(stage, num_chunks=3):
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(stage), str(num_chunks)],
        cwd=ROOT,
        text=True,
        env=dict(os.environ),
        stderr=subprocess.PIPE,
    )


def names(stage):
    """chunk -> how many jobs that live have it."""
    jobs = cluster.live_jobs(stage)
    return {job.index: sum(other.index == job.index for other in jobs) for job in jobs}


def test_a_killed_driver_is_followed_by_another_and_nothing_is_submitted_twice(stage):
    for pause_s in (0.0, 0.2, 0.5):
        driver = driver_process(stage)
        end = time.time() + 20
        while not (stage / "jobs" / "submissions").exists() and time.time() < end:
            time.sleep(0.02)
        time.sleep(pause_s)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    last = driver_process(stage)
    while last.poll() is None:
        assert all(count == 1 for count in names(stage).values())
        time.sleep(0.3)
    assert last.returncode == 0, last.stderr.read()
    assert complete(stage)


def test_two_drivers_at_once_are_refused(stage):
    first = in_background(run, stage, row_s=0.3)
    when_running(stage)
    with pytest.raises(SdgError, match="is already running"):
        run(stage)
    first.join(60)
    assert first.error is None and complete(stage)


def test_another_number_of_chunks_goes_on_with_what_is_left(stage):
    driver = driver_process(stage, 3)
    when_running(stage, 2)
    driver.kill()
    driver.communicate()
    run(stage, {"num_chunks": 2})
    assert complete(stage)
    assert [one.num_chunks for one in JobRecords(stage).submissions][0] == 3


def test_cancel_stops_the_jobs_and_keeps_the_rows(stage):
    driver = in_background(run, stage, row_s=0.5)
    when_running(stage, 2)
    assert cluster.cancel_jobs(stage)
    driver.join(60)
    rows = work.rows_of(stage)
    assert driver.error is not None and rows and cluster.live_jobs(stage) == []
    run(stage)
    assert complete(stage) and set(rows) <= set(work.rows_of(stage))


def test_a_copy_of_a_run_has_nothing_to_do_with_its_jobs(stage, tmp_path):
    driver = in_background(run, stage, row_s=0.5)
    when_running(stage, 2)
    copy = shutil.copytree(tmp_path / "run", tmp_path / "copy") / "math" / "solutions"
    assert cluster.live_jobs(copy) == [] and cluster.cancel_jobs(copy) == []
    driver.join(60)
    assert driver.error is None and complete(stage)
    run(copy)  # what it lacks it makes by jobs of its own
    assert complete(copy) and JobRecords(copy).token != JobRecords(stage).token


def test_a_stage_made_anew_has_submission_folders_of_its_own(stage):
    folders = set()
    for _ in range(2):
        with JobRecords.open(stage) as records:
            folders.add(records.new_submission([0], 1, None).folder.relative_to(stage))
        shutil.rmtree(stage)
    assert len(folders) == 2


def test_at_the_time_limit_a_job_goes_on_where_it_stopped(stage):
    driver = in_background(run, stage, {"num_chunks": 1}, row_s=6.0)
    job = when_running(stage)[0]
    subprocess.run(["scontrol", "update", f"JobId={job.job_id}", "EndTime=now+31"], check=True)
    driver.join(180)
    assert not driver.is_alive() and driver.error is None and complete(stage)
    assert len(list((stage / "jobs" / "attempts").glob("*.json"))) >= 2


def test_a_node_without_power_is_replaced_by_another(slurm, stage):
    driver = in_background(run, stage, {"num_chunks": 2}, row_s=1.0)
    node = when_running(stage, 2)[0].nodes
    slurm.cut_power(node)
    driver.join(150)
    slurm.start_node(node)
    assert not driver.is_alive() and driver.error is None and complete(stage)


def test_slurm_that_does_not_answer_is_not_taken_for_an_end(stage, monkeypatch):
    real, silent = slurm_commands.list_jobs, iter([True] * 3)

    def jobs(asked):
        if work.rows_of(stage) and next(silent, False):
            raise slurm_commands.SlurmUnavailable("squeue: unable to contact slurm controller")
        return real(asked)

    monkeypatch.setattr(slurm_commands, "list_jobs", jobs)
    run(stage, row_s=0.2)
    assert complete(stage) and len(JobRecords(stage).submissions) == 1


def test_a_failure_that_slurm_forgets_at_once_is_not_tried_for_ever(stage, monkeypatch):
    real = slurm_commands.list_jobs
    monkeypatch.setattr(slurm_commands, "list_jobs", lambda asked: [job for job in real(asked) if not job.ended])
    monkeypatch.setattr(slurm_commands, "_show_job", lambda job_id: {})
    with pytest.raises(SdgError, match="chunk 0: job .* ended as GONE(?s:.*)expected better input"):
        run(stage, {"num_chunks": 1, "max_attempts": 2}, trouble="bad input always")
    assert len(JobRecords(stage).submissions) == 2
