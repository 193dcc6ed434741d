"""With an accounting database: jobs that slurmctld has forgotten are still known, and who cancelled them."""

import os
import time

import pytest

from sdg_helpers import cluster
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.errors import SdgError
from tests.helpers import chunk_work as work
from tests.helpers.driving import in_background, run, when_running
from tests.helpers.private_slurm import PrivateSlurm, why_not
from tests.helpers.watching import eventually


@pytest.fixture
def accounting(tmp_path, monkeypatch):
    """A cluster with an accounting database whose slurmctld forgets jobs soon after they end."""
    if reason := why_not(accounting=True):
        pytest.skip(reason)
    private = PrivateSlurm(tmp_path / "slurm", nodes=2, accounting=True, memory_s=5).start()
    monkeypatch.setenv("SLURM_CONF", str(private.conf))
    yield private
    private.stop()


def test_forgotten_jobs_are_known_from_the_database(accounting, tmp_path):
    stage = tmp_path / "run" / "math" / "solutions"
    stage.mkdir(parents=True)
    driver = in_background(run, stage, {"servers": 2}, row_s=0.5)
    job = when_running(stage)[0]
    os.system(f"scancel {job.job_id}")
    driver.join(60)
    assert f"job {job.job_id} ended as CANCELLED" in str(driver.error)
    names = JobRecords(stage).names
    assert eventually(lambda: not slurm.list_jobs(names))
    found = {one.job_id: one for one in slurm.list_ended_jobs(names, time.time() - 60)}
    assert found[job.job_id].state == "CANCELLED" and found[job.job_id].reason == f"by {os.getuid()}"
    assert sorted(one.state for one in found.values()) == ["CANCELLED", "COMPLETED"]
    run(stage, {"servers": 2})
    assert work.rows_of(stage) == list(range(work.ROWS)) and cluster.live_jobs(stage) == []


def test_an_unknown_account_is_named_with_the_known_ones(accounting, tmp_path):
    stage = tmp_path / "run" / "math" / "solutions"
    stage.mkdir(parents=True)
    accounting._run("sacctmgr", "-i", "add", "account", "physics")
    accounting._run("sacctmgr", "-i", "add", "user", "root", "account=physics")
    assert "physics" in slurm.accounts()["account"]
    run(stage, {"account": "physics"})
    with pytest.raises(SdgError, match="jobs: account is 'mine'"):
        slurm_refuses(stage)


def slurm_refuses(stage):
    """Raise the error for an unknown account: without AccountingStorageEnforce, the private cluster takes any."""
    from sdg_helpers.cluster.job_failures import explain_refusal
    from sdg_helpers.cluster.jobs import JobSpec

    raise explain_refusal(
        slurm.SubmissionRefused("Invalid account or account/partition combination specified"),
        JobSpec(where="slurm", account="mine"),
    )
