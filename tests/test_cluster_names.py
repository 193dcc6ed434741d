"""Jobs of a named cluster: their ids, and which settings of `cluster` are refused. No Slurm is needed."""

import pytest
from pydantic import ValidationError

from sdg_helpers.cluster import this_job
from sdg_helpers.cluster.batch_script import batch_script
from sdg_helpers.cluster.cluster_names import array_of, group_by_cluster, task_of
from sdg_helpers.cluster.jobs import Jobs, JobSpec


def test_ids_keep_their_cluster_and_those_of_earlier_versions_have_none():
    assert group_by_cluster(["7_0", "7_0@dusk", "8_1@dawn", "9@dusk"]) == {
        "": ["7_0"],
        "dusk": ["7_0", "9"],
        "dawn": ["8_1"],
    }
    assert [array_of("7_1"), array_of("7_1@dusk"), array_of("7@dusk")] == ["7", "7@dusk", "7@dusk"]
    assert [task_of("7", 1), task_of("7@dusk", 1)] == ["7_1", "7_1@dusk"]


@pytest.mark.parametrize(("cluster", "name", "number"), [("dusk", "7_1@dusk", "9@dusk"), ("", "7_1", "9")])
def test_a_job_knows_its_cluster(monkeypatch, cluster, name, number):
    for variable, value in (("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_JOB_ID", "9")):
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("SDG_JOB_CLUSTER", cluster)
    assert (this_job.job_name(), this_job.slurm_id(), this_job.attempt_name()) == (name, number, f"{name}-0")


def test_a_script_names_its_cluster_to_its_job_only(tmp_path):
    """A job of a driver that is itself a job inherits that one's variables: they are set anew."""
    for cluster, said in (("dusk", "SDG_JOB_CLUSTER=dusk"), (None, "SDG_JOB_CLUSTER=")):
        spec = JobSpec(where="slurm", cluster=cluster)
        name = "sdg-a-0002@dusk" if cluster else "sdg-a-0002"
        lines = batch_script(spec, name, [0], tmp_path, tmp_path, tmp_path, after="7@dusk").splitlines()
        assert any(line.startswith("export ") and line.endswith(said) for line in lines)
        assert "#SBATCH --job-name=sdg-a-0002" in lines and "#SBATCH --dependency=afterany:7" in lines
        assert any(line.endswith("-0002.log") and "--output" in line for line in lines)


@pytest.mark.parametrize("cluster", ["dawn,dusk", "all dusk", "", "-M", "a@b", "a.b"])
def test_one_cluster_is_named_by_its_name(cluster):
    with pytest.raises(ValidationError, match="expected the name of one cluster"):
        JobSpec(where="slurm", cluster=cluster)


@pytest.mark.parametrize("options", [{"clusters": "dusk"}, {"M": "dusk"}])
def test_the_option_of_sbatch_has_its_key(options):
    with pytest.raises(ValidationError, match="set this option with the key cluster"):
        JobSpec(where="slurm", sbatch=options)


def test_all_roles_on_slurm_name_a_cluster_or_none_does():
    slurm = {"where": "slurm"}
    Jobs(all={**slurm, "cluster": "dawn"}, judge={"cluster": "dusk"}, download={"where": "local"})
    Jobs(all=slurm)
    with pytest.raises(ValidationError, match="cluster: cpu has none, but other roles do"):
        Jobs(judge={**slurm, "cluster": "dusk"}, cpu=slurm)
