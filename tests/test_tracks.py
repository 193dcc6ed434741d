"""A stage has one name: in runs/tracks.py, its folder, its manifest and every error about it."""

import pytest

from sdg_helpers import decontamination, files, genselect, judging, runs, science, sft
from sdg_helpers.coding.checks import check_programs
from sdg_helpers.coding.filtering import filter_solutions
from sdg_helpers.errors import SdgError
from sdg_helpers.prompts import load_prompt
from sdg_helpers.science.voting import vote
from tests.helpers.judging import judge_by


@pytest.mark.parametrize("name", runs.STAGES)
def test_manifest_folder_and_error_agree_with_the_list_of_tracks(tmp_path, name):
    track = runs.Track(tmp_path / name, name)
    for info in runs.STAGES[name]:
        stage = track.stage(info.name)
        with pytest.raises(SdgError, match=f"stage {info.name!r} is not begun. Run notebook {info.notebook} first"):
            stage.require()
        with stage.work({}, {}) as work:
            work.finish(rows_in=0, rows_out=0)
        assert stage.require()["stage"] == info.name == stage.folder.name == getattr(track, info.name).name


@pytest.mark.parametrize("name", runs.STAGES)
def test_a_stage_needs_earlier_stages_of_its_track(name):
    known = []
    for info in runs.STAGES[name]:
        assert set(info.needs) <= set(known) and info.notebook.startswith(f"{name}/")
        known.append(info.name)


def export(track, solutions, exported):
    row_format, card = sft.RowFormat(load_prompt("math/solve")), sft.DatasetCard("tiny", "cc-by-4.0")
    verdicts = track.folder / "verdicts.parquet"
    return sft.export_sft(track.stage(solutions), verdicts, track.stage(exported), row_format=row_format, card=card)


def judge(track):
    problems = track.folder / "problems.jsonl"
    return judging.judge_solutions(
        track.stage("solutions"), problems, track.stage("judged"), judge=judge_by(lambda: pytest.fail("opened"))
    )


def rejudge(track):
    labels, problems = track.folder / "labels.parquet", track.folder / "problems.jsonl"
    return judging.rejudge_solutions(
        track.stage("judged"), labels, problems, track.stage("rejudged"), judge=judge_by(lambda: pytest.fail("opened"))
    )


def compare(track):
    verdicts, problems = track.folder / "verdicts.parquet", track.folder / "problems.jsonl"
    return genselect.draw_comparisons(
        track.stage("solutions"), verdicts, problems, track.stage("genselect_comparisons")
    )


def pick(track):
    comparisons = track.folder / "comparisons.jsonl"
    return genselect.judge_picks(comparisons, track.stage("genselect_solutions"), track.stage("genselect_picks"))


def collect(track):
    prompt, questions = load_prompt("science/augment"), track.folder / "questions.jsonl"
    return science.collect_questions(questions, track.stage("inspired"), track.stage("problems"), prompt=prompt)


def drop(track):
    problems = track.folder / "problems.jsonl"
    before = track.stage("candidates"), track.stage("compared")
    return decontamination.drop_contaminated(problems, *before, track.stage("clean"))


def check(track):
    verdicts = track.folder / "verdicts.parquet"
    return check_programs(track.stage("solutions"), verdicts, track.problems, track.stage("checked"))


@pytest.mark.parametrize(
    "call, notebook",
    [
        (judge, "math/03_generate_solutions"),
        (rejudge, "math/04_judge_solutions"),
        (compare, "math/03_generate_solutions"),
        (lambda math: export(math, "solutions", "sft"), "math/03_generate_solutions"),
        (lambda math: sft.push_to_hub(math.stage("sft"), "me/mine"), "math/07_export_sft"),
        (pick, "math/08_build_genselect"),
        (lambda math: export(math, "genselect_solutions", "genselect_sft"), "math/08_build_genselect"),
        (collect, "science/02_augment_questions"),
        (drop, "science/03_decontaminate"),
        (
            lambda track: vote(track.stage("solutions"), track.folder / "p.jsonl", track.stage("voted")),
            "science/04_solve_questions",
        ),
        (lambda track: export(track, "solutions", "sft"), "science/04_solve_questions"),
        (lambda track: sft.push_to_hub(track.stage("sft"), "me/mine"), "science/05_vote_and_export"),
        (
            lambda code: filter_solutions(code.stage("solutions"), code.stage("filtered")),
            "code/02_generate_solutions",
        ),
        (check, "code/02_generate_solutions"),
        (lambda code: export(code, "solutions", "sft"), "code/02_generate_solutions"),
        (lambda code: sft.push_to_hub(code.stage("sft"), "me/mine"), "code/05_export_sft"),
    ],
)
def test_an_error_names_the_notebook_of_its_own_track(tmp_path, call, notebook):
    name = notebook.split("/")[0]
    with pytest.raises(SdgError, match=f"not begun. Run notebook {notebook} first"):
        call(runs.Track(tmp_path / name, name))


def test_a_manifest_with_an_old_stage_name_still_counts(tmp_path):
    """Manifests of version 0.1 call the stage sft "export SFT data"."""
    stage = runs.Track(tmp_path / "math", "math").stage("sft")
    with stage.work({"track": "math"}, {}) as work:
        manifest = work.finish(rows_in=1, rows_out=1)
    del manifest["checksum"]
    files.write_json(stage.folder / "manifest.json", {**manifest, "stage": "export SFT data"})
    with stage.work({"track": "math"}, {}) as work:
        assert work.done and work.manifest == {**manifest, "stage": "export SFT data"}
