"""A Slurm that accepts few jobs at a time, answers without them, or holds them."""

import os
import shutil
import subprocess

import pytest

from sdg_helpers.cluster import slurm as slurm_commands
from sdg_helpers.cluster.held_jobs import HeldJobs
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.slurm_jobs import SlurmJob
from sdg_helpers.errors import SdgError
from tests.helpers import chunk_work as work
from tests.helpers.driving import run

# at most two tasks in the queue, in the words of a QOS with MaxSubmitJobsPerUser
FEW = """
list=$(grep -m1 -- '--array=' "${@: -1}" | sed 's/.*--array=//; s/%.*//')
new=$(echo "$list" | tr , '\\n' | wc -l)
if [ $(( $(squeue -h -r | wc -l) + new )) -gt 2 ]; then
  echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
  echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)" >&2
  exit 1
fi
"""
# every third answer is empty, with status 0
FORGETFUL = """
echo >>{mark}
[ $(( $(wc -l <{mark}) % 3 )) -ne 2 ] || exit 0
"""


@pytest.fixture
def wrap(tmp_path, monkeypatch):
    """Put a script before one of Slurm's commands."""

    def put(command, script):
        folder, real = tmp_path / "wrappers", shutil.which(command)
        folder.mkdir(exist_ok=True)
        (folder / command).write_text(f'#!/bin/bash\n{script}\nexec {real} "$@"\n')
        (folder / command).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return put


def test_a_limit_on_jobs_leaves_some_for_later(stage, wrap):
    wrap("sbatch", FEW)
    with pytest.warns(UserWarning, match="Slurm accepts 2 of 4 jobs now, because of a limit on the number of jobs"):
        run(stage, {"servers": 4})
    assert work.rows_of(stage) == list(range(work.ROWS))
    accepted = [one.numbers for one in JobRecords(stage).submissions if one.fate == "submitted"]
    assert accepted[0] == [0, 1] and sum(accepted, []) == [0, 1, 2, 3]


def test_an_answer_without_live_jobs_is_not_believed(stage, wrap, tmp_path):
    wrap("squeue", FORGETFUL.format(mark=tmp_path / "asked"))
    run(stage, {"servers": 2}, row_s=1.0)
    assert work.rows_of(stage) == list(range(work.ROWS))  # each row once
    assert len(JobRecords(stage).submissions) == 1 and len((tmp_path / "asked").read_text()) > 6


def test_a_job_that_a_person_holds_is_reported(stage):
    def let_go(jobs):
        if jobs and all(job.held for job in jobs):
            subprocess.run(["scontrol", "release", *(job.job_id for job in jobs)], check=True)

    with pytest.warns(UserWarning, match=r"is held \(JobHeldUser\).*: scontrol release \d+_0"):
        run(stage, {"servers": 1, "sbatch": {"hold": True}}, let_go_later(let_go))
    assert work.rows_of(stage) == list(range(work.ROWS))


def let_go_later(let_go):
    """Call it from the third poll on, when the driver has seen the held job."""
    polls = []

    def on_poll(jobs):
        polls.append(jobs)
        if len(polls) > 2:
            let_go(jobs)

    return on_poll


def test_a_job_that_slurm_holds_is_released_a_few_times(slurm, wrap, tmp_path):
    wrap("scontrol", f'echo "$@" >>{tmp_path / "said"}; exit 0')
    wrap("scancel", f'echo cancel "$@" >>{tmp_path / "said"}; exit 0')
    job, held = SlurmJob("7_1", 1, "x", "PENDING", reason="launch failed requeued held"), HeldJobs(2)
    held.handle([job])
    held.handle([job])
    with pytest.raises(SdgError, match=r"job 7_1 was released 2 times .* held again: launch failed requeued held"):
        held.handle([job])
    assert (tmp_path / "said").read_text().splitlines() == ["release 7_1"] * 2 + ["cancel --quiet 7_1"]


def test_a_task_of_a_pending_array_that_was_cancelled_is_not_live(slurm):
    """Slurm forgets the tasks and keeps the array; its answer differs from that to an unknown job."""
    sbatch = ["sbatch", "--parsable", "--hold", "--array=0-1", "--wrap", "true"]
    job = subprocess.run(sbatch, check=True, capture_output=True, text=True).stdout.strip()
    assert slurm_commands.is_live(f"{job}_0") and slurm_commands.is_live(f"{job}_1")
    subprocess.run(["scancel", job], check=True)
    assert not slurm_commands.is_live(f"{job}_0") and not slurm_commands.is_live(f"{job}_7")
    assert not slurm_commands.is_live("999999")
