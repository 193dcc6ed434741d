"""Chunks as jobs of a real Slurm, with every failure that we know of: no row is lost and none is written twice."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from sdg_helpers import cluster, files
from sdg_helpers.cluster import slurm as slurm_commands
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.errors import SdgError
from tests.helpers import chunk_work as work
from tests.helpers.clone import ROOT
from tests.helpers.driving import in_background, interrupted, run, when_running
from tests.helpers.watching import eventually


def complete(stage):
    return work.rows_of(stage) == list(range(work.ROWS))


def test_chunks_run_as_one_array(stage):
    run(stage)
    assert complete(stage)
    records = JobRecords(stage)
    assert [one.fate for one in records.submissions] == ["submitted"]
    assert {event["state"] for event in records.states.values()} == {"COMPLETED"}
    run(stage)  # nothing left to submit
    assert len(JobRecords(stage).submissions) == 1


def test_on_two_nodes_only_the_first_rank_works(stage):
    run(stage, {"nodes": 2, "servers": 2})
    assert complete(stage)


@pytest.mark.parametrize("trouble", ["killed", "raises"])
def test_a_crashed_job_is_started_again(stage, trouble):
    run(stage, {"servers": 2}, trouble=trouble)
    assert complete(stage)


@pytest.mark.parametrize("spec", [{"max_restarts": 0}, {"max_restarts": 3, "max_attempts": 1}])
def test_a_node_on_which_jobs_die_at_once_is_left_out(stage, spec):
    with pytest.warns(UserWarning, match="2 jobs failed within 120 s of their start on n1"):
        run(stage, {"servers": 1, "exclusive": True, **spec}, trouble="dies on n1")  # the first node that Slurm takes
    assert complete(stage)
    records = JobRecords(stage)
    assert records.excluded == ["n1"]
    if "max_attempts" not in spec:
        assert "--exclude=n1" in (records.submissions[-1].folder / "job.sh").read_text()


def test_only_the_unfit_one_of_a_job_s_nodes_is_left_out_and_the_job_says_why(stage, tmp_path):
    """n2 has lost a GPU, according to a stand-in for nvidia-smi."""
    (tmp_path / "bin").mkdir()
    script = '#!/bin/sh\necho 81559, 4\n[ "$SLURMD_NODENAME" = n2 ] || echo 81559, 4\n'
    (tmp_path / "bin" / "nvidia-smi").write_text(script)
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    gpus = {"nodes": 2, "gpus_per_node": 2, "gpu_memory_gb": 80, "setup": [f"export PATH={tmp_path}/bin:$PATH"]}
    with pytest.warns(UserWarning, match="2 jobs failed within 120 s of their start on n2:"):
        run(stage, {"servers": 1, "exclusive": True, "max_restarts": 3, **gpus}, row_s=0.3)
    assert complete(stage) and JobRecords(stage).excluded == ["n2"]
    reports = [files.read_json(path) for path in (stage / "jobs" / "attempts").glob("*-0-rank*.json")]
    why = "node n2 cannot do this job: nvidia-smi lists 1 GPUs, but gpus_per_node is 2"
    said = {report["rank"]: report.get("error") or report.get("why", "") for report in reports}
    assert said[1] == why and said[0].endswith(f"before the first rank did: {why}")


def test_the_next_partition_takes_jobs_that_the_first_cannot(stage):
    run(stage, {"partition": "short,low", "time_limit_min": 30, "servers": 2})  # short allows five minutes
    assert complete(stage)


def test_jobs_run_in_a_reservation(stage):
    make = ["scontrol", "create", "reservation", "reservationname=week", "starttime=now", "duration=10", "users=root"]
    subprocess.run([*make, "nodes=n4", "flags=ignore_jobs"], check=True)
    try:
        run(stage, {"reservation": "week", "servers": 1})
        assert complete(stage)
        assert {event["nodes"] for event in JobRecords(stage).states.values()} == {"n4"}
    finally:
        subprocess.run(["scontrol", "delete", "reservationname=week"], check=True)


def test_jobs_run_in_apptainer(stage, tmp_path, monkeypatch):
    """With a stand-in for apptainer, which runs what it is given."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").write_text(
        f'#!/bin/sh\nshift 3\necho "$1" >>{tmp_path}/images\nshift\nexec "$@"\n'
    )
    (tmp_path / "bin" / "apptainer").chmod(0o755)
    spec = {"container_image": "/a.sif", "container_runtime": "apptainer", "python": sys.executable, "servers": 1}
    run(stage, {**spec, "setup": [f"export PATH={tmp_path}/bin:$PATH"]})
    assert complete(stage) and (tmp_path / "images").read_text() == "/a.sif\n"


def test_a_dead_job_is_replaced_while_the_others_go_on(stage):
    polls = []
    run(stage, {"servers": 3, "max_restarts": 0}, polls.append, row_s=2.0, trouble="killed in 0")
    assert complete(stage)
    records = JobRecords(stage)
    first, second = records.submissions
    assert second.numbers == [0]
    names = [{job.name for job in jobs} for jobs in polls]
    assert {first.name, second.name} in names
    alone = [jobs for jobs in polls if {job.index for job in jobs} == {1, 2}]
    assert len(alone) <= 2  # polls between the death and the replacement


def test_a_chunk_that_cannot_be_finished_is_reported_when_the_others_have_ended(stage):
    polls = []
    with pytest.raises(SdgError, match="1 of 3 jobs failed(?s:.*)job .*_0 ended .*fix what the error names"):
        run(stage, {"servers": 3}, polls.append, row_s=1.0, trouble="bad input in 0")
    assert {1, 2} in [{job.index for job in jobs} for jobs in polls]
    assert len(JobRecords(stage).submissions) == 1 and len(work.rows_of(stage)) == 9


def test_an_error_that_a_retry_cannot_fix_fails_at_once_with_its_log(stage):
    with pytest.raises(SdgError) as error:
        run(stage, {"servers": 1}, trouble="bad input")
    message = str(error.value)
    for part in ("expected better input, found this", "FAILED", "fix what the error names"):
        assert part in message
    assert len(JobRecords(stage).submissions) == 1
    run(stage, {"servers": 1})
    assert complete(stage)


@pytest.mark.parametrize(
    "spec, message",
    [
        ({"partition": "mian"}, "Did you mean main?"),
        ({"partition": "short", "time_limit_min": 60}, "time_limit_min=60"),
        ({"gpus_per_node": 9}, "gpus_per_node=9"),
        ({"nodes": 5}, "nodes=5"),
    ],
)
def test_a_refusal_by_sbatch_names_the_key_and_submits_nothing(stage, spec, message):
    with pytest.raises(SdgError, match="Slurm refused the job|were cancelled") as error:
        run(stage, spec)
    assert message in str(error.value) or "were cancelled" in str(error.value)
    assert cluster.live_jobs(stage) == [] and work.rows_of(stage) == []


def test_scancel_by_hand_is_reported_and_the_next_run_resumes(stage):
    driver = in_background(run, stage, {"servers": 2}, row_s=0.5)
    job = when_running(stage)[0]
    subprocess.run(["scancel", job.job_id], check=True)
    driver.join(60)
    assert "it was cancelled; run again" in str(driver.error)
    run(stage, {"servers": 2})
    assert complete(stage)


def test_requeue_by_hand_and_preemption_lose_nothing(stage):
    driver = in_background(run, stage, {"servers": 1, "partition": "low", "exclusive": True, "nodes": 2}, row_s=0.5)
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


def test_a_job_that_stays_pending_is_cancelled(stage):
    with pytest.raises(SdgError, match="has been pending .*pending_deadline_min.*were cancelled"):
        run(stage, {"servers": 1, **HELD, "pending_deadline_min": 0.03})
    assert cluster.live_jobs(stage) == []


def test_the_next_driver_keeps_counting_how_long_a_job_is_pending(stage):
    interrupted(stage, {"servers": 1, **HELD}, "PENDING")
    time.sleep(2)
    polls = []
    with pytest.raises(SdgError, match="pending_deadline_min"):
        run(stage, {"servers": 1, **HELD, "pending_deadline_min": 0.03}, polls.append)
    assert len(polls) == 1


def test_waiting_for_each_other_does_not_count_as_pending(stage):
    reasons = set()
    run(
        stage,
        {"servers": 2, "dependent_jobs": 1, "pending_deadline_min": 4 / 60},
        lambda jobs: reasons.update(job.reason for job in jobs),
        row_s=1.0,
    )
    assert complete(stage) and "Dependency" in reasons


def test_a_requeue_restarts_the_count_of_pending_time(stage):
    deadline_s, reasons = 4, set()
    driver = in_background(
        run,
        stage,
        {"servers": 1, "pending_deadline_min": deadline_s / 60},
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
run(Path(sys.argv[1]), {"servers": int(sys.argv[2])}, row_s=0.4)
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
    """Return chunk -> how many live jobs work on it."""
    jobs = cluster.live_jobs(stage)
    return {job.index: sum(other.index == job.index for other in jobs) for job in jobs}


def test_after_a_killed_driver_nothing_is_submitted_twice(stage):
    for pause_s in (0.0, 0.2, 0.5):
        driver = driver_process(stage)
        assert eventually((stage / "jobs" / "submissions").exists)
        time.sleep(pause_s)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    last = driver_process(stage)
    while last.poll() is None:
        assert all(count == 1 for count in names(stage).values())
        time.sleep(0.3)
    assert last.returncode == 0, last.stderr.read()
    assert complete(stage)


def test_a_second_driver_is_refused(stage):
    first = in_background(run, stage, row_s=0.3)
    when_running(stage)
    with pytest.raises(SdgError, match="is already running"):
        run(stage)
    first.join(60)
    assert first.error is None and complete(stage)


def test_a_new_number_of_chunks_splits_what_is_left(stage):
    driver = driver_process(stage, 3)
    when_running(stage, 2)
    driver.kill()
    driver.communicate()
    run(stage, {"servers": 2})
    assert complete(stage)
    assert [one.count for one in JobRecords(stage).submissions][0] == 3


def test_cancel_stops_the_jobs_and_keeps_the_rows(stage):
    driver = in_background(run, stage, row_s=0.5)
    when_running(stage, 2)
    assert cluster.cancel_jobs(stage)
    driver.join(60)
    rows = work.rows_of(stage)
    assert driver.error is not None and rows and cluster.live_jobs(stage) == []
    run(stage)
    assert complete(stage) and set(rows) <= set(work.rows_of(stage))


def test_the_copy_of_a_run_does_not_own_its_jobs(stage, tmp_path):
    driver = in_background(run, stage, row_s=0.5)
    when_running(stage, 2)
    copy = shutil.copytree(tmp_path / "run", tmp_path / "copy") / "math" / "solutions"
    assert cluster.live_jobs(copy) == [] and cluster.cancel_jobs(copy) == []
    driver.join(60)
    assert driver.error is None and complete(stage)
    run(copy)  # submits its own jobs for what is missing
    assert complete(copy) and JobRecords(copy).token != JobRecords(stage).token


def test_a_stage_after_a_reset_uses_new_submission_folders(stage):
    folders = set()
    for _ in range(2):
        with JobRecords.open(stage) as records:
            folders.add(records.new_submission([0], 1, None).folder.relative_to(stage))
        shutil.rmtree(stage)
    assert len(folders) == 2


def test_a_job_resumes_after_its_time_limit(stage):
    driver = in_background(run, stage, {"servers": 1}, row_s=6.0)
    job = when_running(stage)[0]
    subprocess.run(["scontrol", "update", f"JobId={job.job_id}", "EndTime=now+31"], check=True)
    driver.join(180)
    assert not driver.is_alive() and driver.error is None and complete(stage)
    assert len(list((stage / "jobs" / "attempts").glob("*.json"))) >= 2


def test_the_jobs_of_a_node_without_power_move_to_another(slurm, stage):
    driver = in_background(run, stage, {"servers": 2}, row_s=1.0)
    node = when_running(stage, 2)[0].nodes
    slurm.cut_power(node)
    driver.join(150)
    slurm.start_node(node)
    assert not driver.is_alive() and driver.error is None and complete(stage)


def test_a_silent_slurm_does_not_mean_that_jobs_have_ended(stage, monkeypatch):
    real, silent = slurm_commands.list_jobs, iter([True] * 3)

    def jobs(asked):
        if work.rows_of(stage) and next(silent, False):
            raise slurm_commands.SlurmUnavailable("squeue: unable to contact slurm controller")
        return real(asked)

    monkeypatch.setattr(slurm_commands, "list_jobs", jobs)
    run(stage, row_s=0.2)
    assert complete(stage) and len(JobRecords(stage).submissions) == 1


def test_a_failure_that_slurm_forgets_at_once_is_not_retried_for_ever(stage, monkeypatch):
    real = slurm_commands.list_jobs
    monkeypatch.setattr(slurm_commands, "list_jobs", lambda asked: [job for job in real(asked) if not job.ended])
    monkeypatch.setattr(slurm_commands, "_show_job", lambda job_id: {})
    with pytest.raises(SdgError, match="job .* ended as GONE(?s:.*)expected better input"):
        run(stage, {"servers": 1, "max_attempts": 2}, trouble="bad input always")
    assert len(JobRecords(stage).submissions) == 2
