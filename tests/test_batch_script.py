"""The script of a submission: what a container mounts. Slurm is not needed."""

import re
import shlex
import subprocess

import pytest

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.batch_script import _shell_lines, batch_script
from sdg_helpers.cluster.exit_codes import CRASHED
from sdg_helpers.cluster.job_records import JobRecords, jobs_folder_of
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.submitting import Submitter
from sdg_helpers.paths import PACKAGE


def test_a_container_mounts_the_package_the_run_and_what_the_profile_adds(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "submit", lambda script, lock_fd, ignored, cluster: "7")
    stage = tmp_path / "outputs" / "run" / "math" / "solutions"
    stage.mkdir(parents=True)
    spec = JobSpec(where="slurm", container_image="img.sqsh", container_mounts=["/data:/data"], servers=1)
    with JobRecords.open(stage) as records:
        Submitter(print, spec, records).submit([0], 1)
        folder = records.submissions[0].folder
    mounts = re.search(r"--container-mounts=(\S+)", (folder / "job.sh").read_text())[1].split(",")
    run = stage.parent.parent
    assert mounts == [f"{PACKAGE.parent}:{PACKAGE.parent}", f"{run}:{run}", "/data:/data"]
    assert jobs_folder_of(folder) == stage / "jobs"


@pytest.mark.parametrize("ran_s, again", [(10, False), (4000, True)])
def test_restarts_count_anew_after_an_hour_at_work(tmp_path, ran_s, again):
    """The end of the script, after a crash of a job that has used all its restarts."""
    for name, text in (("squeue", "echo RUNNING"), ("scontrol", f"touch {tmp_path}/requeued; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "again-7_0-died").write_text("1 1\n" * 3)
    script = _shell_lines(JobSpec(where="slurm", max_restarts=3), tmp_path)["teardown"]
    words = ["bash", "-c", "\n".join([f"SECONDS={ran_s}", f"(exit {CRASHED})", *script])]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    assert subprocess.run(words, env=environment).returncode == CRASHED
    assert (tmp_path / "requeued").exists() == again
    assert len((tmp_path / "again-7_0-died").read_text().splitlines()) == (1 if again else 3)


def test_apptainer_wraps_the_command_and_mounts_the_same(tmp_path):
    spec = JobSpec(
        where="slurm",
        container_image="/images/sdg.sif",
        container_runtime="apptainer",
        container_mounts=["/data:/data"],
        gpus_per_node=8,
        reservation="my-week",
    )
    script = batch_script(spec, "sdg-a-0001", [0], tmp_path, tmp_path, tmp_path)
    assert "#SBATCH --reservation=my-week" in script and "--container-image" not in script
    words = shlex.split(next(line for line in script.splitlines() if line.startswith("srun ")))
    at = words.index("apptainer")
    mounts = f"{PACKAGE.parent}:{PACKAGE.parent},{tmp_path}:{tmp_path},/data:/data"
    assert words[at : at + 7] == ["apptainer", "exec", "--nv", "--bind", mounts, "/images/sdg.sif", "python3"]
