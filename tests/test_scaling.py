"""`sdg scale`: how many servers a stage is to have, from the profile or set while it runs."""

import pytest

from sdg_helpers import files
from sdg_helpers.cli.main import main
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.cluster.scaling import servers_wanted


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A stage of run `a` whose jobs share its work."""
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path))
    folder = tmp_path / "a" / "math" / "solutions"
    folder.mkdir(parents=True)
    (tmp_path / "a" / "run.yaml").write_text("run: a\n")
    return folder


def submit(stage, shared):
    with JobRecords.open(stage) as records:
        records.new_submission([0], 1, None, shared)


def test_scale_sets_the_number_of_servers_of_a_shared_stage(stage, capsys):
    submit(stage, shared=True)
    assert servers_wanted(stage, 16) == 16
    assert main(["scale", "a", "24"]) == 0
    assert servers_wanted(stage, 16) == 24 and "math/solutions: 24 servers" in capsys.readouterr().out


def test_scale_refuses_what_cannot_be_scaled(stage, capsys):
    submit(stage, shared=False)
    assert main(["scale", "a", "24"]) == 2 and "no stage of this run is shared" in capsys.readouterr().err
    submit(stage, shared=True)
    assert main(["scale", "a", "0"]) == 2 and "must be at least 1, found 0" in capsys.readouterr().err
    (stage / "manifest.json").write_text("{}")
    assert main(["scale", "a", "2"]) == 2
    assert servers_wanted(stage, 16) == 16


def test_a_damaged_record_is_named(stage):
    files.write_json(stage / "jobs" / "servers.json", {"servers": "many"})
    with pytest.raises(Exception, match=r"servers.json: expected a number of servers, found \{'servers': 'many'\}"):
        servers_wanted(stage, 16)
