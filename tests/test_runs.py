"""A run folder: names, layout, run.yaml, status and reset."""

import json
import os
import time

import pytest
import yaml

from sdg_helpers import files, paths, runs
from sdg_helpers.cluster.job_records import JobRecords
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration
from sdg_helpers.runs import history, reset, status
from tests.helpers.clone import make_clone


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.delenv("SDG_OUTPUTS", raising=False)
    monkeypatch.chdir(make_clone(tmp_path))
    return tmp_path


def complete(run, name, rows=4, dropped=None, **more):
    stage = run.track("math").stage(name)
    with stage.work({}, {}) as work:
        (stage.folder / "out.jsonl").write_text("x\n" * rows)
        work.finish(
            rows_in=rows + sum((dropped or {}).values()),
            rows_out=rows,
            dropped=dropped,
            outputs=[stage.folder / "out.jsonl"],
            **more,
        )
    return stage.folder


def by_stage(run):
    return {one.stage: one for one in status.run_status(run.folder)}


def test_the_outputs_folder_is_the_same_anywhere_inside_the_clone(clone, monkeypatch):
    assert paths.outputs_root() == clone / "outputs"
    monkeypatch.chdir(clone / "notebooks" / "math")
    assert paths.outputs_root() == clone / "outputs"
    assert paths.resolve_path("data/mine.jsonl") == clone / "data" / "mine.jsonl"
    assert paths.resolve_path("/data/mine.jsonl").as_posix() == "/data/mine.jsonl"
    monkeypatch.setenv("SDG_OUTPUTS", str(clone / "big" / "disk"))
    assert runs.run_folder("a") == clone / "big" / "disk" / "a"


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "-p", "é", "x" * 65, None, 3])
def test_a_name_that_cannot_be_a_folder_is_refused(clone, name):
    with pytest.raises(SdgError, match="run name"):
        runs.run_folder(name)


def test_open_run_gives_the_layout(clone):
    run = runs.open_run("try-1")
    math = run.track("math")
    assert math.solutions == clone / "outputs" / "try-1" / "math" / "solutions"
    assert list(math.stages)[:7] == ["problems", "checkpoint", "solutions", "judged", "relabeled", "rejudged", "sft"]
    assert set(math.stages) <= set(dir(math))
    with pytest.raises(AttributeError, match=r"no stage 'solution'. Did you mean solutions\?"):
        math.solution  # noqa: B018
    with pytest.raises(SdgError, match="Run notebook math/01_download_problems first"):
        math.require("problems")
    complete(run, "problems")
    math.require("problems")


def test_run_yaml_records_every_session_and_no_secret(clone, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-write-this-down")
    run = runs.open_run("a")
    history.add_session(run.folder, run.profile, {})
    history.add_session(run.folder, run.profile, {"NUM_SEEDS": "3"})
    history.add_session(run.folder, run.profile, {"NUM_SEEDS": "3"})
    text = (run.folder / "run.yaml").read_text()
    content = yaml.safe_load(text)
    assert (content["run"], content["profile"]) == ("a", "demo")
    assert [one["overrides"] for one in content["sessions"]] == [{}, {"NUM_SEEDS": "3"}]
    assert content["sessions"][0]["profile"]["servers"]["solver"]["model"] == "tiny"
    assert content["sessions"][0]["versions"]["python"] and "git_commit" in content["sessions"][0]
    assert "sk-" not in text


def test_fields_that_change_what_is_generated_are_known(clone):
    """They become parameters of the stages, so that another reasoning_effort is refused in the middle of a run."""
    profile = clone / "notebooks" / "profiles" / "effort.yaml"
    profile.write_text(
        "servers:\n  solver:\n    engine: endpoint\n    model: m\n    request: {extra_body: {reasoning_effort: high}}\n"
    )
    assert runs.open_run("effort", profile="effort").extra_body("solver") == {"reasoning_effort": "high"}
    assert runs.open_run("plain").extra_body("solver") == {}


def test_a_different_profile_is_refused(clone):
    runs.open_run("a")
    (clone / "notebooks" / "profiles" / "big.yaml").write_text("description: big\n")
    with pytest.raises(SdgError, match="begun with the profile 'demo', not 'big'. Continue with .*--profile.*--run"):
        runs.open_run("a", profile="big")
    runs.open_run("b", profile="big")
    assert runs.all_runs() == ["a", "b"]


@pytest.mark.parametrize("text", ["[1]", "run: [", "run: a\n"])
def test_a_broken_run_yaml_is_named(clone, text):
    run = runs.open_run("a")
    (run.folder / "run.yaml").write_text(text)
    with pytest.raises(SdgError, match="(?s)run.yaml: (invalid YAML|expected the keys).*The data is kept"):
        runs.open_run("a")


def test_status_of_every_state(clone):
    run = runs.open_run("a")
    assert {one.state for one in status.run_status(run.folder)} == {"not begun"}
    complete(run, "problems", dropped={"repeated": 8, "converted_proof": 2})
    math = run.track("math")
    with math.stage("solutions").work({}, {}) as work:
        work.progress(40, 96, force=True, tokens_per_s=31.4, requests_per_s=0.5, failed=2)
        at_work = by_stage(run)["solutions"]
        assert at_work.state == "at work"
        assert at_work.detail == "40/96 rows  42%  31 tok/s  ETA 1m52s  2 failed"
    found = by_stage(run)
    assert found["problems"].state == "complete"
    assert found["problems"].detail.startswith("4/14 rows (dropped: 8 repeated, 2 converted_proof)")
    assert found["solutions"].state == "partial" and "40/96" in found["solutions"].detail
    assert "ETA" not in found["solutions"].detail
    files.write_json(
        run.folder / "notebooks" / "math" / "03_generate_solutions.json",
        {"state": "failed", "error": "SdgError: the server is gone\nmore"},
    )
    failed = by_stage(run)["solutions"]
    assert failed.state == "failed" and failed.detail.endswith("; SdgError: the server is gone")
    assert found["judged"] == status.StageStatus(
        "math", "judged", "math/04_judge_solutions", "not begun", "notebook math/04_judge_solutions"
    )


def test_status_reports_a_failure_before_the_stage_began_and_missing_files(clone):
    run = runs.open_run("a")
    files.write_json(
        run.folder / "notebooks" / "math" / "01_download_problems.json",
        {"state": "failed", "error": "ConnectionError: no hub"},
    )
    assert (by_stage(run)["problems"].state, by_stage(run)["problems"].detail) == ("failed", "ConnectionError: no hub")
    folder = complete(run, "sft")
    (folder / "out.jsonl").unlink()
    assert by_stage(run)["sft"].state == "damaged" and "out.jsonl" in by_stage(run)["sft"].detail


def test_a_worker_on_another_machine_counts_while_it_reports(clone):
    run = runs.open_run("a")
    folder = run.track("math").solutions
    files.write_json(folder / "begun.json", {})
    (folder / ".lock").write_text("process 1 on another-node\n")
    for age, state in ((5, "at work"), (500, "partial")):
        files.write_json(folder / "progress.json", {"done": 1, "total": 2, "updated_at": time.time() - age})
        assert by_stage(run)["solutions"].state == state


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (10, "10s"),
        (59.6, "1m00s"),
        (252, "4m12s"),
        (3599.9, "1h00m"),
        (11100, "3h05m"),
        (187200, "2d04h"),
        (1e7, "115d17h"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_reset_drops_a_stage_and_its_downstream_stages(clone):
    run = runs.open_run("a")
    for name in run.track("math").stages:
        complete(run, name)
    record = run.folder / "notebooks" / "math" / "05_relabel_with_majority.json"
    files.write_json(record, {"state": "complete"})
    track, info = reset.find_stage("judged", run.folder)
    reset.reset_stages(run.folder, track, reset.downstream(track, info.name))
    assert sorted(os.listdir(run.folder / "math")) == ["checkpoint", "problems", "solutions"]
    assert not record.exists()
    assert [one.name for one in reset.downstream("math", "checkpoint")] == ["checkpoint"]


def test_reset_refuses_a_running_stage_and_an_unknown_name(clone):
    run = runs.open_run("a")
    with pytest.raises(SdgError, match=r"Did you mean math/solutions\?"):
        reset.find_stage("math/solution", run.folder)
    with run.track("math").stage("judged").work({}, {}), pytest.raises(SdgError, match="already running"):
        reset.reset_stages(run.folder, *_found(run, "judged"))
    assert (run.folder / "math" / "judged" / "begun.json").exists()


STAGES = [
    (["science"], "solutions", "science/solutions"),
    (["math", "code"], "judged", "math/judged"),
    (["math"], "code/sft", "code/sft"),
    ([], "math/sft", "math/sft"),
]


@pytest.mark.parametrize("tracks, text, found", STAGES)
def test_a_stage_is_searched_in_the_begun_tracks(tmp_path, tracks, text, found):
    for track in tracks:
        (tmp_path / track).mkdir()
    track, info = reset.find_stage(text, tmp_path)
    assert f"{track}/{info.name}" == found


@pytest.mark.parametrize(
    "tracks, text, message",
    [
        (
            ["math", "code"],
            "solutions",
            "'solutions': several tracks have it: math/solutions, code/solutions. Give one of these.$",
        ),
        (["code"], "judged", "unknown stage 'judged'.* Stages: code/problems, .*, code/sft\\."),
        ([], "solutions", "unknown stage 'solutions'.* Stages: math/problems.*, science/topics.*, code/problems"),
    ],
)
def test_an_ambiguous_or_unknown_stage_is_refused(tmp_path, tracks, text, message):
    for track in tracks:
        (tmp_path / track).mkdir()
    with pytest.raises(SdgError, match=message):
        reset.find_stage(text, tmp_path)


@pytest.mark.parametrize("inner", ["", "rounds"])  # the rounds of adaptive sampling are judged in a stage of their own
def test_reset_needs_slurm_only_where_jobs_were_submitted(clone, monkeypatch, inner):
    monkeypatch.setenv("PATH", str(clone / "nothing"))  # a machine without Slurm
    run = runs.open_run("a")
    judged, sft = complete(run, "judged"), complete(run, "sft")
    with JobRecords.open(judged / inner) as records:
        records.new_submission([0], 1, None)
    with pytest.raises(
        SdgError,
        match=rf"(?s)judged/?{inner}: this stage ran as Slurm jobs.*not found on this machine.*/?{inner}/jobs",
    ):
        reset.reset_stages(run.folder, *_with_what_follows(run, "judged"))
    assert (judged / "manifest.json").exists() and (sft / "manifest.json").exists()
    reset.reset_stages(run.folder, *_with_what_follows(run, "math/sft"))
    assert judged.exists() and not sft.exists()


def _with_what_follows(run, name):
    track, info = reset.find_stage(name, run.folder)
    return track, reset.downstream(track, info.name)


def _found(run, name):
    track, info = reset.find_stage(name, run.folder)
    return track, [info]


def test_the_table_of_runs(clone):
    run = runs.open_run("a")
    complete(run, "problems")
    with run.track("math").stage("solutions").work({}, {}) as work:
        work.progress(1, 4, force=True)
    (row,) = status.runs_table()
    assert (row["run"], row["profile"], row["complete"]) == ("a", "demo", "1/11 stages")
    assert row["now"].startswith("math/solutions partial: 1/4 rows")
    json.dumps(row)


def test_a_run_is_complete_once_its_data_is_exported(clone):
    run = runs.open_run("a")
    for name in ("problems", "solutions", "judged", "relabeled", "rejudged", "sft"):
        complete(run, name)
    (row,) = status.runs_table()
    assert (row["complete"], row["now"]) == ("complete", "not begun: math/02_shard_checkpoint, math/08_build_genselect")
