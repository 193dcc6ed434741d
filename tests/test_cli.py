"""What a person types and reads: quick help, clear refusals with exit code 2, status, reset, params."""
import json
import subprocess
import time

import pytest

from sdg_helpers import cli, runs

from .clone import command, environment, make_clone, write_notebook


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


def test_help_answers_at_once():
    subprocess.run(command("--help"), env=environment(), check=True, capture_output=True)
    took = []
    for _ in range(3):
        start = time.perf_counter()
        found = subprocess.run(command("--help"), env=environment(), check=True, capture_output=True, text=True)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.3
    for word in ("run", "status", "reset", "notebooks", "params", "weights", "export", "import"):
        assert f"\n    {word} " in found.stdout or f"\n    {word}\n" in found.stdout


REFUSED = [
    (["run", "math", "-p", "NUM_SEED", "3"], "-p: unknown parameter NUM_SEED. Did you mean NUM_SEEDS?"),
    (["run", "math", "-p", "NUM_SEEDS", "three"], "NUM_SEEDS: expected int"),
    (["run", "maths"], "track 'maths': expected one of start, math"),
    (["run", "math", "--profile", "dmo"], "Did you mean demo?"),
    (["run", "math", "--run", "../x"], "run name '../x'"),
    (["run", "math", "--from", "02"], "no notebook is '02'"),
    (["run", "math", "--from", "03", "--to", "01"], "expected at least one notebook between"),
    (["status", "nothing"], "run 'nothing': expected"),
    (["params", "math/09"], "no notebook is 'math/09'"),
    (["reset", "nothing", "sft"], "run 'nothing': expected"),
    (["weights", "fetch", "qwen"], "qwen2.5-coder-1.5b-instruct"),
    (["export", "nemo-skills", "nothing", "out"], "run 'nothing': expected"),
]


@pytest.mark.parametrize("words, told", REFUSED)
def test_bad_input_is_one_clear_message_and_nothing_begins(clone, capsys, words, told):
    assert cli.main(words) == 2
    found = capsys.readouterr()
    assert told in found.err and found.err.startswith("sdg: ") and found.out == ""
    assert not (clone / "outputs").exists()


def test_debug_shows_where_it_came_from(clone):
    with pytest.raises(runs.SdgError):
        cli.main(["--debug", "status", "nothing"])


def test_a_notebook_without_run_and_profile_cannot_be_run(clone, capsys):
    write_notebook(clone / "notebooks" / "bare" / "01_bare.ipynb", "A = 1  # a")
    assert cli.main(["run", "bare"]) == 2
    assert "expected the parameters RUN and PROFILE" in capsys.readouterr().err


def test_the_profile_of_a_begun_run_is_the_default(clone, capsys):
    (clone / "notebooks" / "profiles" / "big.yaml").write_text("parameters: {all: {NUM_SEEDS: x}}\n")
    runs.open_run("a", profile="big")
    assert cli.main(["run", "math", "--run", "a"]) == 2
    assert "big.yaml, parameters: all: NUM_SEEDS" in capsys.readouterr().err
    assert cli.main(["run", "math", "--run", "a", "--profile", "demo"]) == 2
    assert "was begun with the profile 'big', now it is 'demo'" in capsys.readouterr().err


def test_status_in_words_and_for_programs(clone, capsys):
    complete("problems")
    assert cli.main(["status", "a"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["math/problems", "complete", "1/1", "rows"]
    assert lines[2].split() == ["math/solutions", "not", "begun", "notebook", "math/03_generate_solutions"]
    assert cli.main(["status", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["counts"] == {"rows_in": 1, "rows_out": 1, "dropped": {}}
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["a", "demo"]


def test_status_without_any_run(clone, capsys):
    assert cli.main(["status"]) == 0
    assert "no runs in outputs" in capsys.readouterr().out


def test_reset_asks_first(clone, capsys, monkeypatch):
    judged, sft = complete("judged"), complete("sft")
    assert cli.main(["reset", "a", "judged"]) == 2  # no terminal to ask on
    assert "--yes" in capsys.readouterr().err and judged.exists()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert cli.main(["reset", "a", "judged"]) == 2 and judged.exists()
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    assert cli.main(["reset", "a", "math/judged"]) == 0
    assert not judged.exists() and not sft.exists()
    assert "from notebook math/04_judge_solutions" in capsys.readouterr().out
    assert cli.main(["reset", "a", "judged", "--yes"]) == 0
    assert "has not begun: nothing to drop" in capsys.readouterr().out


def test_params_and_notebooks_explain(clone, capsys):
    assert cli.main(["params", "math/03"]) == 0
    assert "  NUM_SEEDS  2       solutions a problem\n" in capsys.readouterr().out
    assert cli.main(["notebooks"]) == 0
    assert "  math/03_generate_solutions  solutions\n" in capsys.readouterr().out
