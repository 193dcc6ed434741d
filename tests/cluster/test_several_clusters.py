"""A site with two clusters, dawn and dusk: a profile's `cluster` sends the jobs to one, and ids are not mixed up."""

import os
import signal
import subprocess
import time

import pytest
import yaml

from bench.bad_days import OpenServer
from sdg_helpers import cluster, files
from sdg_helpers.cluster import slurm
from sdg_helpers.cluster.check import check_cluster
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.errors import SdgError
from sdg_helpers.leases.lease_folder import job_of, leases_of
from sdg_helpers.profiles import load_profile
from sdg_helpers.watching.job_files import JobFiles
from tests.helpers import chunk_work as work
from tests.helpers.driving import SPEC, in_background, interrupted, run, when_running
from tests.helpers.private_slurm import PrivateSlurm, why_not
from tests.helpers.solving import generate, write_problems
from tests.helpers.standin import StandIn
from tests.helpers.watching import eventually

DUSK = {"cluster": "dusk", "servers": 2}


@pytest.fixture(scope="module")
def dusk(tmp_path_factory):
    """The second cluster. Slurm's commands ask the first one, dawn, by default."""
    if reason := why_not(accounting=True):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    dawn = PrivateSlurm(folder / "dawn", nodes=2, accounting=True, name="dawn").start()
    dusk = PrivateSlurm(folder / "dusk", nodes=2, name="dusk", beside=dawn).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(dawn.conf))
        yield dusk
    dusk.stop()
    dawn.stop()


@pytest.fixture
def stages(dusk, tmp_path):
    """Two stages of a run."""
    folders = [tmp_path / "run" / "math" / name for name in ("problems", "solutions")]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


def ids(stage):
    return sorted(job.job_id for job in cluster.live_jobs(stage))


def listed(*option):
    """The ids that a cluster's own squeue shows."""
    found = subprocess.run(["squeue", "-h", "-r", "-o", "%i", *option], capture_output=True, text=True, check=True)
    return sorted(found.stdout.split())


def test_the_same_ids_on_two_clusters_are_different_jobs(stages):
    at_dawn, at_dusk = stages
    interrupted(at_dawn, {"servers": 2}, row_s=1.0)
    interrupted(at_dusk, DUSK, row_s=1.0)
    assert ids(at_dawn) == listed() == listed("-M", "dusk")
    assert ids(at_dusk) == [f"{job}@dusk" for job in listed("-M", "dusk")]
    cluster.cancel_jobs(at_dusk)
    assert eventually(lambda: not listed("-M", "dusk"))
    assert len(ids(at_dawn)) == 2
    run(at_dawn, {"servers": 2})
    run(at_dusk, DUSK)
    assert work.rows_of(at_dawn) == work.rows_of(at_dusk) == list(range(work.ROWS))


def test_a_stage_may_move_to_another_cluster(stages):
    stage = stages[0]
    interrupted(stage, {"cluster": "dawn", "servers": 2}, row_s=0.5)
    cluster.cancel_jobs(stage)
    assert eventually(lambda: not ids(stage))
    run(stage, DUSK)
    assert work.rows_of(stage) == list(range(work.ROWS))
    of = {job.rpartition("@")[2] for job in JobRecords(stage).states}
    assert of == {"dawn", "dusk"}


def test_a_job_that_dies_is_requeued_whatever_cluster_the_user_prefers(stages, monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTERS", "dawn")
    monkeypatch.setenv("SBATCH_CLUSTERS", "dawn")
    run(stages[0], DUSK, trouble="killed in 0")
    assert work.rows_of(stages[0]) == list(range(work.ROWS))
    [submission] = JobRecords(stages[0]).submissions
    assert submission.name.endswith("-0001@dusk") and submission.job_id.endswith("@dusk")
    assert (stages[0] / "jobs" / "attempts" / f"0000-{submission.job_id.replace('@', '_0@')}-1-rank0.json").exists()


def test_a_cancelled_job_is_reported_with_its_cluster_and_who_did_it(stages):
    stage = stages[0]
    driver = in_background(run, stage, DUSK, row_s=0.5)
    job = when_running(stage)[0]
    subprocess.run(["scancel", "-M", "dusk", job.job_id.partition("@")[0]], check=True)
    driver.join(60)
    assert f"job {job.job_id} ended as CANCELLED" in str(driver.error)

    def in_database():
        return {one.job_id: one.reason for one in slurm.list_ended_jobs([job.name], time.time() - 60)}

    assert eventually(lambda: in_database().get(job.job_id) == f"by {os.getuid()}")


def test_a_killed_driver_finds_its_submission_on_the_other_cluster(stages, monkeypatch):
    stage = stages[0]
    with monkeypatch.context() as patch:
        patch.setattr(slurm, "read_job_id", lambda folder, cluster: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(stage, DUSK)
    (script,) = stage.glob("jobs/submissions/*/*/sbatch.out")
    script.unlink()
    run(stage, DUSK)
    assert [one.fate for one in JobRecords(stage).submissions] == ["submitted"]
    assert work.rows_of(stage) == list(range(work.ROWS))


def test_nodes_that_fail_are_left_out_on_their_own_cluster_only(stages):
    stage = stages[0]
    with pytest.warns(UserWarning, match="on n1@dusk: the next ones leave"):
        run(stage, {**DUSK, "max_attempts": 5}, trouble="dies on n1")
    assert JobRecords(stage).excluded == ["n1@dusk"]
    (stage / next(iter(stage.glob("rows-*"))).name).unlink()
    run(stage, {"cluster": "dawn", "servers": 2})
    assert "--exclude" not in (JobRecords(stage).submissions[-1].folder / "job.sh").read_text()


def test_an_unknown_cluster_is_named_with_the_known_ones(stages, tmp_path, monkeypatch):
    with pytest.raises(SdgError, match=r"jobs: cluster is 'dsuk'\. Did you mean dusk\? Clusters here: dawn, dusk"):
        run(stages[0], {"cluster": "dsuk"})
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path / "outputs"))
    spec = {"where": "slurm", "time_limit_min": 9, "poll_s": 0.5, "stop_before_limit_s": 60}
    checked = {}
    for name in ("dusk", "dsuk"):
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump({"servers": {}, "jobs": {"cpu": {**spec, "cluster": name}}}))
        checked[name] = {row["what"].partition(":")[0]: row for row in check_cluster(load_profile(str(file)), 5)}
    assert checked["dusk"]["cluster dusk"]["found"] == "partitions main, low, high, closed, short"
    assert checked["dusk"]["jobs of cpu"]["ok"] == checked["dusk"]["cluster dusk"]["ok"] == "yes"
    unknown = checked["dsuk"]["cluster dsuk"]
    assert (unknown["ok"], unknown["found"]) == ("no", "unknown; clusters here: dawn, dusk")
    assert "Did you mean dusk?" in unknown["what to do"] and checked["dsuk"]["jobs of cpu"]["ok"] == "no"


def test_a_cluster_that_is_down_is_waited_for(stages, dusk):
    stage = stages[0]
    os.kill(dusk._own_pid(dusk.folder / "run" / "slurmctld.pid"), signal.SIGKILL)
    driver = in_background(run, stage, DUSK)
    assert eventually(lambda: (stage / "jobs/submissions/0001").exists() and driver.is_alive())
    time.sleep(3)  # for sbatch to have failed
    assert [one.fate for one in JobRecords(stage).submissions] == ["submitting"]
    dusk._run("slurmctld")
    driver.join(120)
    assert driver.error is None and work.rows_of(stage) == list(range(work.ROWS))


def test_servers_on_another_cluster_share_the_problems(stages, tmp_path):
    stage, seen = stages[1], {}
    problems = write_problems(tmp_path / "run" / "problems.jsonl", 40)
    with StandIn(latency="0.3") as server:
        jobs = JobSpec(**{**SPEC, **DUSK})
        more = {"concurrency": 4, "open_server": OpenServer(server.base_url), "jobs": jobs}
        driver = in_background(generate, problems, stage, server.base_url, num_seeds=1, **more)

        def both_at_work():
            seen["live"] = {job.job_id for job in cluster.live_jobs(stage)}
            seen["owners"] = {job_of(lease.owner) for lease in leases_of(stage).taken()}
            return len(seen["owners"]) == 2

        assert eventually(both_at_work)
        assert seen["owners"] == seen["live"] and all(job.endswith("@dusk") for job in seen["live"])
        attempts = [JobFiles(stage, [job]).attempt_of(job) for job in cluster.live_jobs(stage)]
        assert attempts and all(attempt.slurm_id.endswith("@dusk") for attempt in attempts)
        driver.join(120)
    assert driver.error is None and files.read_json(stage / "manifest.json")["counts"]["rows_out"] == 40
