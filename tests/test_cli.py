"""What users type and read: quick help, clear errors with exit code 2, status, reset, params."""

import json
import subprocess
import sys

import pytest

from sdg_helpers import runs
from sdg_helpers.budgets.ledger import Entry
from sdg_helpers.cli.main import main
from sdg_helpers.errors import SdgError
from sdg_helpers.planning.estimate import Range
from sdg_helpers.planning.stored import save_plan
from tests.helpers.clone import command, environment, make_clone, write_notebook


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.delenv("SDG_OUTPUTS", raising=False)
    monkeypatch.chdir(make_clone(tmp_path))
    return tmp_path


def complete(name, run="a"):
    stage = runs.open_run(run).track("math").stage(name)
    with stage.work({}, {}) as work:
        (stage.folder / "out.jsonl").write_text("x\n")
        work.finish(rows_in=1, rows_out=1, outputs=[stage.folder / "out.jsonl"])
    return stage.folder


HEAVY = {"pandas", "numpy", "pyarrow", "openai", "datasets", "pydantic", "asyncio"}


def loaded_by(code):
    """Return the modules that this code loads."""
    code = f"import sys; from sdg_helpers.cli.main import _parser, main; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_no_heavy_library():
    found = subprocess.run([*command("--help")], env=environment(), check=True, capture_output=True, text=True)
    assert not HEAVY & loaded_by("_parser().format_help()")
    for word in ("init", "run", "status", "reset", "notebooks", "params", "weights", "export", "import"):
        assert f"\n    {word} " in found.stdout or f"\n    {word}\n" in found.stdout


REFUSED = [
    (["run", "math", "-p", "NUM_SEED", "3"], "-p: unknown parameter NUM_SEED. Did you mean NUM_SEEDS?"),
    (
        ["run", "math", "-p", "NUM_SEEDS", "three"],
        "NUM_SEEDS: expected int (the default is 2), found str 'three'. NUM_SEEDS: solutions a problem.\n",
    ),
    (["run", "maths"], "unknown track 'maths'. Did you mean math?"),
    (["run", "math", "--profile", "dmo"], "Did you mean demo?"),
    (["run", "math", "--run", "../x"], "run name '../x'"),
    (["run", "math", "--from", "02"], "--from '02': no such notebook. Notebooks: math/01_download_problems, math/03"),
    (["run", "math", "--from", "03", "--to", "01"], "--from 03 --to 01 selects no notebook"),
    (["status", "nothing"], "run 'nothing': "),
    (["params", "math/09"], "NOTEBOOK 'math/09': no such notebook. Notebooks: start/00_start_here, math/01"),
    (["reset", "nothing", "sft"], "run 'nothing': "),
    (["weights", "fetch", "qwen"], "qwen2.5-coder-1.5b-instruct"),
    (["export", "nemo-skills", "nothing", "out"], "run 'nothing': "),
]


@pytest.mark.parametrize("words, told", REFUSED)
def test_bad_input_is_one_clear_message_and_nothing_begins(clone, capsys, words, told):
    assert main(words) == 2
    found = capsys.readouterr()
    assert told in found.err and found.err.startswith("sdg: ") and found.out == ""
    assert not (clone / "outputs").exists()


@pytest.mark.parametrize(
    "words, place",
    [(["run", "math"], "a file/demo/run.yaml"), (["import", "nemo-skills", "theirs", "b"], "a file/b/run.yaml")],
)
def test_an_outputs_folder_that_is_none_is_one_clear_message(clone, capsys, monkeypatch, words, place):
    (clone / "a file").write_text("")
    monkeypatch.setenv("SDG_OUTPUTS", str(clone / "a file"))
    assert main(words) == 2
    found = capsys.readouterr().err
    assert found.startswith(f"sdg: cannot read or write {clone / place}: Not a directory. ")
    assert "SDG_OUTPUTS" in found and found.count("\n") == 1


@pytest.mark.parametrize("place, found", [("/proc/nope", "No such file or directory"), ("a file", "File exists")])
def test_an_export_to_where_nothing_can_be_written_is_one_clear_message(clone, capsys, place, found):
    problems = runs.open_run("a").track("math").stage("problems")
    with problems.work({}, {}) as work:
        (problems.folder / "problems.jsonl").write_text('{"id": "1", "problem": "A?"}\n')
        work.finish(rows_in=1, rows_out=1, outputs=[problems.folder / "problems.jsonl"])
    (clone / "a file").write_text("")
    assert main(["export", "nemo-skills", "a", place]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"sdg: cannot write {place}") and found in told and told.count("\n") == 1


def test_an_operating_system_error_of_no_file_is_not_hidden(clone, monkeypatch):
    monkeypatch.setattr(runs, "all_runs", lambda: (_ for _ in ()).throw(OSError("of no file")))
    with pytest.raises(OSError, match="of no file"):
        main(["status"])


def test_an_import_that_cannot_begin_a_run_writes_nothing(clone, capsys):
    (clone / "theirs").mkdir()
    (clone / "theirs" / "problems.jsonl").write_text('{"problem": "A?", "expected_answer": "1"}\n')
    assert main(["import", "nemo-skills", "theirs", "b", "--profile", "dmo"]) == 2
    assert "Did you mean demo?" in capsys.readouterr().err and not (clone / "outputs").exists()
    runs.open_run("b")
    (clone / "notebooks" / "profiles" / "big.yaml").write_text("description: big\n")
    assert main(["import", "nemo-skills", "theirs", "b", "--profile", "big"]) == 2
    assert "was begun with the profile 'demo'" in capsys.readouterr().err
    assert not (clone / "outputs" / "b" / "math").exists()
    assert main(["import", "nemo-skills", "theirs", "b"]) == 0


def test_debug_shows_where_it_came_from(clone):
    with pytest.raises(SdgError):
        main(["--debug", "status", "nothing"])


def test_a_notebook_without_run_and_profile_cannot_be_run(clone, capsys):
    write_notebook(clone / "notebooks" / "bare" / "01_bare.ipynb", "A = 1  # a")
    assert main(["run", "bare"]) == 2
    assert "does not declare RUN" in capsys.readouterr().err


def test_the_profile_of_a_begun_run_is_the_default(clone, capsys):
    (clone / "notebooks" / "profiles" / "big.yaml").write_text("parameters: {all: {NUM_SEEDS: x}}\n")
    runs.open_run("a", profile="big")
    assert main(["run", "math", "--run", "a"]) == 2
    assert "big.yaml, parameters: all: NUM_SEEDS" in capsys.readouterr().err
    assert main(["run", "math", "--run", "a", "--profile", "demo"]) == 2
    assert "was begun with the profile 'big', not 'demo'" in capsys.readouterr().err


def test_status_in_words_and_for_programs(clone, capsys):
    complete("problems")
    assert main(["status", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].replace(",", "").split()[:4] == ["math/problems", "complete", "1/1", "rows"]  # , 0.1s may follow
    assert lines[2].split() == ["math/solutions", "not", "begun", "notebook", "math/03_generate_solutions"]
    assert main(["status", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["counts"] == {"rows_in": 1, "rows_out": 1, "dropped": {}}
    assert main(["status"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["a", "demo"]


def test_status_of_a_run_loads_no_heavy_library(clone):
    complete("problems")
    run = runs.existing_run("a")
    Entry(run, role="solver", prompt_tokens=10, completion_tokens=20).save()
    save_plan(run, {name: Range(1, 1, 2) for name in ("tokens", "hours", "prompt_tokens")}, "")
    assert not (HEAVY | {"yaml", "psutil"}) & loaded_by("assert main(['status', 'a']) == 0")


BROKEN = [
    ("b", "run.yaml", "{", "unreadable: {outputs}/b/run.yaml: invalid YAML"),
    ("b", "run.yaml", "run: b", "unreadable: {outputs}/b/run.yaml: expected the keys profile"),
    ("b", "math/problems/manifest.json", "{", "unreadable: {outputs}/b/math/problems/manifest.json: invalid JSON"),
    ("b", "math/problems/manifest.json", "[]", "unreadable: {outputs}/b/math/problems/manifest.json: not a manifest"),
    ("b", "math/problems/manifest.json", "{}", "unreadable: {outputs}/b/math/problems/manifest.json: not a manifest"),
    ("b copy", "run.yaml", "", "unreadable: run name 'b copy': use letters"),
]


@pytest.mark.parametrize("name, file, text, told", BROKEN)
def test_a_run_that_cannot_be_read_hides_no_other(clone, capsys, name, file, text, told):
    complete("problems", "a")
    complete("problems", "b")
    path = clone / "outputs" / name / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["a", "demo"] and lines[0].endswith("1/11 stages")
    assert told.format(outputs=clone / "outputs") in lines[-1] and lines[-1].startswith(f"  {name} ")
    assert main(["status", "--json"]) == 0


def test_status_without_any_run(clone, capsys):
    assert main(["status"]) == 0
    assert "no runs in outputs" in capsys.readouterr().out


def test_reset_asks_first(clone, capsys, monkeypatch):
    judged, sft = complete("judged"), complete("sft")
    assert main(["reset", "a", "judged"]) == 2  # no terminal to ask on
    assert "--yes" in capsys.readouterr().err and judged.exists()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert main(["reset", "a", "judged"]) == 2 and judged.exists()
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    assert main(["reset", "a", "math/judged"]) == 0
    assert not judged.exists() and not sft.exists()
    assert "from notebook math/04_judge_solutions" in capsys.readouterr().out
    assert main(["reset", "a", "judged", "--yes"]) == 0
    assert "has not begun: nothing to delete" in capsys.readouterr().out


def test_params_and_notebooks_explain(clone, capsys):
    assert main(["params", "math"]) == 0
    out = capsys.readouterr().out
    assert "math/03_generate_solutions  (notebooks/math/03_generate_solutions.ipynb)\n" in out
    assert "  NUM_SEEDS = 2\n      solutions a problem\n" in out
    assert main(["params", "math/03", "--json"]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert explained["math/03_generate_solutions"]["NUM_SEEDS"] == {"default": "2", "help": "solutions a problem"}
    write_notebook(clone / "notebooks" / "code" / "03_filter.ipynb", "A = 1  # a")
    assert main(["params", "03"]) == 2
    assert capsys.readouterr().err == (
        "sdg: NOTEBOOK '03': several notebooks match: code/03_filter, "
        "math/03_generate_solutions. Give one of these names.\n"
    )
    assert main(["notebooks"]) == 0
    assert "  math/03_generate_solutions  solutions\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("sdg sta", {"status"}),
        ("sdg status ", {"first", "second"}),
        ("sdg report first s", {"second"}),
        ("sdg run math --profile d", {"demo"}),
        ("sdg params math/03", {"math/03_generate_solutions"}),
    ],
)
def test_the_shell_completes_commands_runs_profiles_and_notebooks(clone, tmp_path, typed, words):
    for name in ("first", "second"):
        (clone / "outputs" / name).mkdir(parents=True)
        (clone / "outputs" / name / "run.yaml").write_text("profile: demo")
    asking = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "words"),
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
    }
    subprocess.run(command(), env={**environment(), **asking}, check=True, cwd=clone)
    found = (tmp_path / "words").read_text().split("\n")
    assert {word.strip() for word in found if not word.startswith("-")} == words


def test_completion_prints_code_for_the_shell(capsys):
    assert main(["completion", "bash"]) == 0
    assert "complete " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["statu"], "Did you mean status?"),
        (["run", "math", "--profil", "demo"], "unrecognized arguments: --profil demo. Did you mean --profile?"),
        (["run", "math", "--prof=demo"], "Did you mean --profile?"),
    ],
)
def test_a_misspelled_word_does_nothing_and_gets_a_hint(words, hint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2 and hint in capsys.readouterr().err


def test_without_words_the_first_commands_are_shown(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "sdg try math" in shown and "sdg run math" in shown and "sdg status" in shown
