"""`sdg why` and `sdg replay`: from exported rows back to their solutions, and the same request again."""

import json

import pytest

from sdg_helpers import files, runs
from sdg_helpers.cli.main import main
from sdg_helpers.errors import SdgError
from sdg_helpers.lineage import explain_row, replay
from sdg_helpers.lineage.finding import find_by_row, find_by_seed, sft_file
from sdg_helpers.profiles import load_profile
from sdg_helpers.runs import history
from sdg_helpers.solutions import read_solutions, sampling_seed
from tests.helpers import whole_run
from tests.helpers.clone import ROOT
from tests.helpers.standin import StandIn


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(server, the outputs folder, the track) of a finished run named r."""
    outputs = tmp_path_factory.mktemp("outputs")
    source = whole_run.write_source(outputs / "source" / "source.jsonl", 12)
    with StandIn(accuracy=0.6) as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("SDG_OUTPUTS", str(outputs))
        whole_run.run_stages(outputs / "r", source, server.base_url, 4, upto="sft")
        profile = outputs / "p.yaml"
        profile.write_text(f"servers: {{solver: {{engine: endpoint, model: standin, base_url: '{server.base_url}'}}}}")
        history.begin(outputs / "r", load_profile(profile))
        yield server, outputs, runs.Track(outputs / "r" / "math", "math")


def test_every_exported_row_leads_to_its_solution(finished):
    _, _, track = finished
    rows = list(files.read_jsonl(sft_file(track)))
    assert len(rows) > 10
    seen = set()
    for number, row in enumerate(rows, 1):
        found = find_by_row(track, number)
        assert found.solution.keys["problem"] in row["input"] and found.verdict.correct is True
        assert found.text.removeprefix("<think>").strip() in row["output"]
        assert row["expected_answer"] == found.verdict.expected_answer
        seen.add((found.id, found.seed))
    assert len(seen) == len(rows)


def test_every_solution_is_exported_or_has_a_reason(finished):
    _, _, track = finished
    rows, reasons = [], set()
    for row in read_solutions(track.solutions):
        found = find_by_seed(track, row["id"], row["seed"])
        if found.row:
            rows.append(found.row)
        else:
            assert found.dropped
            reasons.add(found.dropped)
    dropped = track.stage("sft").manifest["counts"]["dropped"]
    assert set(rows) == set(range(1, len(list(files.read_jsonl(sft_file(track)))) + 1))
    assert reasons == set(dropped) - {"duplicate"} and "incorrect" in reasons


def test_the_story_has_everything(finished):
    _, _, track = finished
    found = find_by_row(track, 1)
    story = explain_row(track, "1")
    for part in (
        f"row 1 of {sft_file(track)}",
        "passed: use_judgement, ",
        f"id {found.id}",
        "problem_source: made up",
        "prompt math/solve-few-shot (",
        f"sampling seed {sampling_seed(0, found.id, found.seed)}",
        "temperature 0.6",
        "model standin",
        "server: endpoint, http://127.0.0.1:",
        "finish reason stop",
        f"right, decided by: {found.verdict.how}",
        f"expected {found.verdict.expected_answer}",
        "decision keep",
        f"seed {found.seed}: ",
        "<- this one",
    ):
        assert part in story, part
    assert explain_row(track, found.id, found.seed) == story


def test_the_words_of_the_judge_are_shown(finished):
    _, _, track = finished
    asked = [row for row in files.read_jsonl(track.judged / "comparisons.jsonl") if row["how"] == "model"]
    stories = [
        explain_row(track, row["id"], row["seed"])
        for row in read_solutions(track.solutions)
        if row["id"] in {one["id"] for one in asked}
    ]
    assert asked and any("the judge standin (prompt " in story and "| Judgement: " in story for story in stories)


def test_text_of_the_model_cannot_steer_the_terminal(finished, tmp_path):
    _, outputs, track = finished
    hostile = next(row for row in read_solutions(track.solutions) if "\u2028" in row["problem"])
    story = explain_row(track, hostile["id"], hostile["seed"])
    assert "\\u2028" in story and all(letter.isprintable() or letter in "\n\t" for letter in story)


@pytest.mark.parametrize(
    "row, seed, said",
    [
        ("100000", None, "no row 100000; rows are numbered from 1 to"),
        ("0", None, "no row 0"),
        ("nosuch", 0, "no solution of the problem 'nosuch'"),
        ("nosuch", 9, "no seed 9. Seeds: 0, 1, 2, 3"),
    ],
)
def test_what_is_not_there_is_said(finished, row, seed, said):
    _, _, track = finished
    with pytest.raises(SdgError, match=said):
        explain_row(track, row, seed)


def test_the_commands_print_it(finished, capsys, monkeypatch):
    server, outputs, track = finished
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SDG_OUTPUTS", str(outputs))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert main(["why", "r", "1"]) == 0 and "Exported row\n  row 1 of " in capsys.readouterr().out
    found = find_by_row(track, 1)
    assert main(["why", "r", found.id]) == 2 and f"sdg why r {found.id} 0" in capsys.readouterr().err
    before = server.stats()["requests"]
    manifest = (track.solutions / "manifest.json").read_bytes()
    assert main(["replay", "r", found.id, str(found.seed)]) == 0
    shown = capsys.readouterr().out
    assert "Kept (" in shown and "Again (" in shown and "Both replies are the same." in shown
    assert server.stats()["requests"] == before + 1 and (track.solutions / "manifest.json").read_bytes() == manifest


def test_a_replay_says_what_has_changed(finished, monkeypatch):
    server, outputs, track = finished
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    found = find_by_row(track, 1)
    run = runs.Run("r", outputs / "r", load_profile(outputs / "p.yaml"))
    path = track.solutions / "manifest.json"
    kept, manifest = path.read_bytes(), json.loads(path.read_bytes())
    manifest["parameters"] |= {"run_seed": 5, "prompt": "0" * 16}
    del manifest["checksum"]
    path.write_text(json.dumps(manifest))
    try:
        replayed = replay(run, "math", found.id, found.seed)
    finally:
        path.write_bytes(kept)
    assert replayed.notes == ["the prompt math/solve-few-shot has changed since"]
    assert (replayed.same_until is None) == (replayed.text == found.text)


def test_a_server_of_jobs_is_not_started_for_a_replay(finished, monkeypatch):
    _, outputs, track = finished
    monkeypatch.chdir(ROOT)
    found = find_by_row(track, 1)
    with pytest.raises(SdgError, match="its solver runs in jobs of a cluster"):
        replay(runs.Run("r", outputs / "r", load_profile("slurm")), "math", found.id, found.seed)
