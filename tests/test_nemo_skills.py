"""Exchange with NeMo-Skills: our files read back to the same bytes, and its own files are imported correctly."""

import pytest

from sdg_helpers import files, nemo_skills, runs
from sdg_helpers.cli.main import main as cli_main
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.judge import judge_solutions, rejudge_solutions
from sdg_helpers.labels.relabel import relabel_problems
from sdg_helpers.labels.rules import RelabelRule
from sdg_helpers.nemo_skills.importing import import_nemo_skills
from sdg_helpers.problems.download import download_problems
from sdg_helpers.prompts import load_prompt
from sdg_helpers.sft.dataset_cards import DatasetCard
from sdg_helpers.sft.export import export_sft
from sdg_helpers.sft.rows import RowFormat
from tests.helpers.judging import judge_by, verdicts
from tests.helpers.solving import endpoint_server, generate
from tests.helpers.stages import stage_at
from tests.helpers.standin import StandIn


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a complete run of the demo's problems by the scripted model."""
    folder = tmp_path_factory.mktemp("outputs") / "first"
    math = runs.Track(folder / "math", "math")
    problems = math.problems / "problems.jsonl"
    download_problems(math.stage("problems"), source="demo")
    with StandIn(accuracy=0.5) as server:
        judge = judge_by(lambda: endpoint_server(server.base_url))
        generate(problems, math.solutions, server.base_url)
        judge_solutions(math.stage("solutions"), problems, math.stage("judged"), judge=judge)
        relabel_problems(math.judged / "verdicts.parquet", problems, math.stage("relabeled"), RelabelRule("majority"))
        rejudge_solutions(
            math.stage("judged"), math.relabeled / "labels.parquet", problems, math.stage("rejudged"), judge=judge
        )
    export_sft(
        math.stage("solutions"),
        math.rejudged / "verdicts.parquet",
        math.stage("sft"),
        row_format=RowFormat(load_prompt("math/solve"), forms=("input_output", "messages")),
        card=DatasetCard("tiny", "cc-by-4.0"),
    )
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def test_export_import_export_gives_identical_files(run, tmp_path):
    rows = nemo_skills.export_nemo_skills(run, tmp_path / "a")
    assert rows == {"problems": 25, **dict.fromkeys(("solutions", "judged", "relabeled", "rejudged"), 75)}
    brought = import_nemo_skills(tmp_path / "a", tmp_path / "second")
    assert (
        brought.pop("relabeled") == 25
        and brought.pop("sft") > 0
        and brought == {name: count for name, count in rows.items() if name != "relabeled"}
    )
    nemo_skills.export_nemo_skills(tmp_path / "second", tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) == 1 + 4 * 6 + 3
    math = [runs.Track(folder / "math", "math") for folder in (run, tmp_path / "second")]
    for name in ("judged", "rejudged"):
        one, two = (verdicts(getattr(track, name)) for track in math)
        assert [row[:5] for row in one] == [row[:5] for row in two]


@pytest.mark.parametrize("last", ["problems", "solutions", "judged", "relabeled", "rejudged"])
def test_a_run_is_exchanged_after_every_stage(run, tmp_path, last):
    half = tmp_path / "half"
    for name in ("problems", "solutions", "judged", "relabeled", "rejudged"):
        (half / "math").mkdir(parents=True, exist_ok=True)
        (half / "math" / name).symlink_to(run / "math" / name)
        if name == last:
            break
    nemo_skills.export_nemo_skills(half, tmp_path / "a")
    import_nemo_skills(tmp_path / "a", tmp_path / "second")
    assert runs.Track(tmp_path / "second" / "math", "math").stage(last).complete
    nemo_skills.export_nemo_skills(tmp_path / "second", tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_rows_have_the_references_keys(run, tmp_path):
    nemo_skills.export_nemo_skills(run, tmp_path / "a")
    judged = list(files.read_jsonl(tmp_path / "a" / "judged" / "output-rs0.jsonl"))
    assert {
        "problem",
        "expected_answer",
        "generation",
        "finish_reason",
        "num_generated_tokens",
        "predicted_answer",
        "judgement",
    } <= judged[0].keys()
    assert all("Judgement: " in row["judgement"] for row in judged)
    relabeled = list(files.read_jsonl(tmp_path / "a" / "relabeled" / "output-rs2.jsonl"))
    changed = [row for row in relabeled if row["updated_answer_from_r1"]]
    assert changed and all(row["expected_answer"] != row["original_expected_answer"] for row in changed)
    assert (tmp_path / "a" / "solutions" / "output-rs1.jsonl.done").read_bytes() == b""


def test_rejudging_an_imported_run_asks_only_new_comparisons(run, tmp_path):
    nemo_skills.export_nemo_skills(run, tmp_path / "a")
    import_nemo_skills(tmp_path / "a", tmp_path / "second")
    math = runs.Track(tmp_path / "second" / "math", "math")
    (math.rejudged / "manifest.json").unlink()
    with StandIn() as server:
        manifest = rejudge_solutions(
            math.stage("judged"),
            math.relabeled / "labels.parquet",
            math.problems / "problems.jsonl",
            stage_at(tmp_path / "again"),
            judge=judge_by(lambda: endpoint_server(server.base_url)),
        )
    first = runs.Track(run / "math", "math")
    assert manifest["comparisons_asked"] <= first.stage("rejudged").require()["comparisons_asked"]
    assert [row[:5] for row in verdicts(tmp_path / "again")] == [row[:5] for row in verdicts(first.rejudged)]


def write_their_files(folder, rows, name="output-rs0.jsonl", done=True):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"".join(map(files.dumps, rows)))
    if done:
        (folder / f"{name}.done").touch()
    return folder


def test_files_that_nemo_skills_wrote_itself(tmp_path):
    """Rows without id or seed, with separate thinking and with times; a repeated problem; seeds of unequal length, on
    which the reference crashed (its fault 2)."""
    row = {
        "problem": "What is 1 + 1?",
        "expected_answer": "2",
        "generation": "\\boxed{2}",
        "num_generated_tokens": 5,
        "reasoning_content": "One and one.",
        "finish_reason": "stop",
        "generation_start_time": 1.5,
        "predicted_answer": "2",
        "judgement": "**Judgement:** Yes",
    }
    other = {**row, "problem": "What is 2 + 2?", "expected_answer": 4, "judgement": None}
    write_their_files(tmp_path / "a" / "solutions", [row, other, row])
    write_their_files(tmp_path / "a" / "solutions", [other], "output-rs3.jsonl")
    write_their_files(tmp_path / "a" / "judged", [row, other])
    assert import_nemo_skills(tmp_path / "a", tmp_path / "r") == {"problems": 2, "solutions": 3, "judged": 2}
    math = runs.Track(tmp_path / "r" / "math", "math")
    rows = list(files.read_jsonl(math.solutions / "output-rs0.jsonl"))
    assert rows[0] == {
        "id": files.content_id("What is 1 + 1?"),
        "problem": "What is 1 + 1?",
        "expected_answer": "2",
        "seed": 0,
        "generation": "<think>\nOne and one.\n</think>\n\n\\boxed{2}",
        "finish_reason": "stop",
        "num_generated_tokens": 5,
    }
    assert math.stage("solutions").require()["counts"]["dropped"] == {"repeated": 1}
    assert [(one[4], one[5]) for one in verdicts(math.judged)] == [(True, "imported"), (None, "imported")]


@pytest.mark.parametrize(
    "name, done, said",
    [
        ("output-rs0.jsonl", False, "there is no output-rs0.jsonl.done beside it"),
        ("output-rs0_chunk_1.jsonl", True, "nothing says how many chunks there should be"),
        ("output-rs0.jsonl-async", False, "Let NeMo-Skills finish it first"),
    ],
)
def test_unfinished_files_are_rejected(tmp_path, name, done, said):
    """Fault 5 of the reference: it took work in progress and stale chunks for finished files."""
    write_their_files(tmp_path / "a" / "solutions", [{"problem": "x"}], name, done)
    with pytest.raises(SdgError, match=said):
        import_nemo_skills(tmp_path / "a", tmp_path / "r")


def test_chunks_are_imported_when_they_have_a_row_for_every_problem(tmp_path):
    rows = [{"problem": name, "expected_answer": "1", "generation": f"\\boxed{{{name}}}"} for name in "abcdefghijkl"]
    folder = write_their_files(tmp_path / "a" / "solutions", rows)  # merged: its stale chunk does not count
    write_their_files(folder, rows[:1], "output-rs0_chunk_0.jsonl")
    for number, row in enumerate(rows):
        write_their_files(folder, [row], f"output-rs1_chunk_{number}.jsonl")
    problems = b"".join(files.dumps({"problem": row["problem"], "expected_answer": "1"}) for row in rows)
    (tmp_path / "a" / "problems.jsonl").write_bytes(problems)
    assert import_nemo_skills(tmp_path / "a", tmp_path / "r") == {"problems": 12, "solutions": 24}
    solutions = tmp_path / "r" / "math" / "solutions"
    assert [row["generation"] for row in files.read_jsonl(solutions / "output-rs1.jsonl")] == [
        row["generation"] for row in rows
    ], "chunk 10 comes after chunk 9"
    (folder / "output-rs1_chunk_11.jsonl").unlink()
    with pytest.raises(SdgError, match="11 chunks have 11 rows for 12 problems"):
        import_nemo_skills(tmp_path / "a", tmp_path / "r2")
    write_their_files(folder, rows[-1:], "output-rs1_chunk_11.jsonl")
    (folder / "output-rs1_chunk_3.jsonl.done").unlink()
    with pytest.raises(SdgError, match="there is no output-rs1_chunk_3.jsonl.done"):
        import_nemo_skills(tmp_path / "a", tmp_path / "r3")


def test_prefilled_judgements_of_rows_without_finish_reason_become_rows(tmp_path):
    """NeMo-Skills judges equal and missing answers by rule, and may write those rows first."""
    made = [
        ("a", "\\boxed{1}", "1", "Reasoning: The two answers are identical.\nJudgement: Yes"),
        ("b", "", None, "Reasoning: No answer was provided.\nJudgement: No"),
        ("c", "\\boxed{2}", "2", "They differ.\n\nJudgement: No"),
    ]
    rows = [
        {"problem": name, "expected_answer": "1", "generation": f"<think>\n{name}\n</think>\n\n{text}",
         "predicted_answer": answer, "judgement": judgement}
        for name, text, answer, judgement in made
    ]  # fmt: skip
    write_their_files(tmp_path / "a" / "solutions", rows)
    write_their_files(tmp_path / "a" / "judged", [rows[1], rows[2], rows[0]])
    import_nemo_skills(tmp_path / "a", tmp_path / "r")
    math = runs.Track(tmp_path / "r" / "math", "math")
    found = {one[0]: one[4:6] for one in verdicts(math.judged)}
    ids = [files.content_id(name) for name in "abc"]
    assert [found[one] for one in ids] == [(True, "imported"), (False, "missing"), (False, "imported")]
    manifest = export_sft(
        math.stage("solutions"),
        math.judged / "verdicts.parquet",
        math.stage("sft"),
        row_format=RowFormat(load_prompt("math/solve")),
        card=DatasetCard("tiny", "cc0-1.0"),
    )
    assert manifest["counts"] == {"rows_in": 3, "rows_out": 1, "dropped": {"unfinished": 1, "incorrect": 1}}


def test_errors_name_torn_rows_misplaced_rows_and_empty_folders(tmp_path):
    a, b = ({"problem": name, "generation": "x", "finish_reason": "stop"} for name in "ab")
    write_their_files(tmp_path / "o" / "solutions", [a, b])
    write_their_files(tmp_path / "o" / "solutions", [b, a], "output-rs1.jsonl")
    with pytest.raises(SdgError, match=r"output-rs1.jsonl, row 2: the problem .* is out of order or unknown"):
        import_nemo_skills(tmp_path / "o", tmp_path / "r")
    path = write_their_files(tmp_path / "t" / "solutions", [a]) / "output-rs0.jsonl"
    path.write_bytes(path.read_bytes() + b'{"problem": "b", "gen')
    with pytest.raises(SdgError, match="output-rs0.jsonl, line 2: invalid JSON"):
        import_nemo_skills(tmp_path / "t", tmp_path / "r2")
    (tmp_path / "e").mkdir()
    with pytest.raises(SdgError, match="found neither"):
        import_nemo_skills(tmp_path / "e", tmp_path / "r3")


def test_the_command_line_exports_and_imports(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SDG_OUTPUTS", str(run.parent))
    (run / "run.yaml").write_text("run: first\nprofile: demo\nbegun_at: now\nsessions: []\n")
    assert cli_main(["export", "nemo-skills", "first", str(tmp_path / "a")]) == 0
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path / "o"))
    assert cli_main(["import", "nemo-skills", str(tmp_path / "a"), "second"]) == 0
    assert "75 rows" in capsys.readouterr().out and (tmp_path / "o" / "second" / "run.yaml").exists()
