"""The script of a submission: what a container mounts. Slurm is not needed."""

import re

from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.job_records import JobRecords, jobs_folder_of
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.cluster.submitting import Submitter
from sdg_helpers.paths import PACKAGE


def test_a_container_mounts_the_package_the_run_and_what_the_profile_adds(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "submit", lambda script, lock_fd, ignored: "7")
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
