"""A manifest means complete; a change is rejected with its name; counts must add up."""

import os

import pytest

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.stages import Stage


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "run" / "math" / "problems" / "problems.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(files.dumps({"id": "a"}))
    return path


def make(source, parameters=None, times=None):
    stage = Stage(source.parent.parent / "relabeled", "relabel", "math/05_relabel_with_majority")
    with stage.work(parameters=parameters or {"min_votes": 1}, inputs={"problems": source}) as work:
        if work.done:
            return work.manifest
        (stage.folder / "labels.jsonl").write_bytes(b"{}\n")
        if times is not None:
            times.append(1)
        return work.finish(rows_in=3, rows_out=1, dropped={"repeated": 2}, outputs=[stage.folder / "labels.jsonl"])


def test_a_finished_stage_does_nothing_again(source):
    times = []
    first, second = make(source, times=times), make(source, times=times)
    assert times == [1] and first == second
    assert first["counts"] == {"rows_in": 3, "rows_out": 1, "dropped": {"repeated": 2}}
    assert first["outputs"]["labels.jsonl"]["bytes"] == 3


def test_an_edited_input_is_rejected_but_not_a_touched_one(source):
    make(source)
    os.utime(source, ns=(1, 1))
    make(source)
    source.write_bytes(files.dumps({"id": "b"}))
    with pytest.raises(SdgError, match=r"finished with other settings(.|\n)*input problems: its content has changed"):
        make(source)


@pytest.mark.parametrize("finished", [True, False])
def test_other_parameters_are_rejected_with_what_to_do(source, finished):
    make(source)
    manifest = source.parent.parent / "relabeled" / "manifest.json"
    if not finished:
        files.write_json(manifest.parent / "begun.json", files.read_json(manifest))
        manifest.unlink()
    with pytest.raises(SdgError) as error:
        make(source, {"min_votes": 2})
    assert "min_votes: was 1, now 2" in str(error.value) and "sdg reset run math/relabeled" in str(error.value)
    assert ("was finished with" if finished else "was begun with") in str(error.value)


def test_the_error_names_only_the_changed_keys_of_a_mapping(source):
    make(source, {"filters": {"deduplicate": True, "trim": True, "bounds": {"low": 1}}})
    with pytest.raises(SdgError) as error:
        make(source, {"filters": {"deduplicate": False, "trim": True, "bounds": {"low": 2}, "new": "x"}})
    assert [line.strip() for line in str(error.value).splitlines() if ": was " in line] == [
        "filters.bounds.low: was 1, now 2",
        "filters.deduplicate: was True, now False",
        "filters.new: was None, now 'x'",
    ]


def test_counts_that_do_not_add_up_are_rejected_and_leave_no_manifest(source):
    stage = Stage(source.parent.parent / "sft", "export")
    with stage.work(parameters={}, inputs={}) as work, pytest.raises(SdgError, match="do not add up"):
        work.finish(rows_in=3, rows_out=1, dropped={"repeated": 1})
    assert not stage.complete


def test_require_says_which_notebook_to_run(source):
    with pytest.raises(SdgError, match="stage 'solutions' is not begun. Run notebook math/03_generate_solutions first"):
        Stage(source.parent.parent / "solutions", "solutions", "math/03_generate_solutions").require()


def test_a_second_worker_is_rejected(source):
    stage = Stage(source.parent.parent / "sft", "export")
    with (
        stage.work(parameters={}, inputs={}),
        pytest.raises(SdgError, match="is already running"),
        stage.work(parameters={}, inputs={}),
    ):
        pass


def test_a_missing_input_is_a_clear_error(tmp_path):
    with (
        pytest.raises(SdgError, match="none: input file not found"),
        Stage(tmp_path / "s", "s").work(parameters={}, inputs={"x": tmp_path / "none"}),
    ):
        pass
