"""`python -m bench`: figures against targets, results that are kept part by part, clients that really ask."""

import sys
from types import SimpleNamespace

import pytest

from bench import __main__ as bench
from bench import results
from bench.completions import Client, ClientFailed, Setting
from bench.results import Figure, Part
from bench.targets import at_least, at_most


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder in which results are kept."""
    monkeypatch.setattr(results, "STORE", tmp_path / "results.json")
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")
    return tmp_path


def run(monkeypatch, figures, *words):
    """Run the command with parts that give these figures, by their names; return its exit code."""
    modules = {f"bench.{name}": SimpleNamespace(measure=lambda quick, of=of: of(quick)) for name, of in figures.items()}
    monkeypatch.setattr(bench.importlib, "import_module", modules.__getitem__)
    monkeypatch.setattr(sys, "argv", ["bench", "--only", ",".join(figures), *words])
    return bench.main()


def measured(value, target=None):
    return lambda quick: Part([Figure("job", "CPU s", value, target)], ["a note"])


def broken(quick):
    raise OSError("no disk")


@pytest.mark.parametrize(
    ("value", "target", "missed"),
    [
        (0.8, at_least(0.8), False),
        (0.79, at_least(0.8), True),
        (400, at_most(400), False),
        (401, at_most(400), True),
        (float("nan"), at_most(400), True),
        (5, None, False),
    ],
)
def test_a_figure_misses_its_target(value, target, missed):
    assert Figure("job", "s", value, target).missed is missed


def test_a_table_has_a_row_for_each_subject_and_shows_what_is_missed():
    figures = [
        Figure("a", "s", 1234.5),
        Figure("a", "MB", 0.123),
        Figure("b", "MB", 500, at_most(400)),
        Figure("c", "%", 7),
    ]
    first = ["| | s | MB |", "|-|-:|-:|", "| a | 1,234 | 0.123 |", "| b |  | **500** |"]
    assert results.table(figures) == [*first, "", "| | % |", "|-|-:|", "| c | 7 |"]


def test_a_part_that_is_measured_again_replaces_only_its_own_section(kept, monkeypatch, capsys):
    assert run(monkeypatch, {"stages": measured(7, at_most(8)), "slots": measured(1)}) == 0
    assert run(monkeypatch, {"slots": measured(2)}) == 0
    assert {name: part.figures[0].value for name, part in results.load().items()} == {"slots": 2, "stages": 7}
    page = (kept / "RESULTS.md").read_text()
    assert page.index("## slots") < page.index("## stages") and "| stages | job: CPU s | 7 | <= 8 | met |" in page
    assert results.load()["stages"].figures == [Figure("job", "CPU s", 7, at_most(8))]


def test_the_exit_code_tells_of_missed_targets_and_failed_parts(kept, monkeypatch, capsys):
    assert run(monkeypatch, {"slots": measured(7, at_most(5))}) == 1
    assert run(monkeypatch, {"slots": broken, "stages": measured(1)}) == 1
    assert capsys.readouterr().out.endswith("0 targets missed; failed: slots\n")
    assert results.load()["slots"].figures[0].value == 7, "a part that fails keeps its last figures"


def test_a_quick_run_keeps_nothing_and_does_not_judge(kept, monkeypatch, capsys):
    assert run(monkeypatch, {"slots": measured(7, at_most(5))}, "--quick") == 0
    assert list(kept.iterdir()) == []


def test_an_unknown_part_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, {"slotz": measured(1)})
    assert "unknown part 'slotz'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bare", "ours", "stage"])
def test_a_client_asks_for_every_completion(name):
    run = Client(name).run(Setting(100, 8, 0.01, 200), cores=(0, 0))
    assert run["count"] == 100 and 0 < run["in_flight"] <= 8 and run["cpu_s"] > 0 and run["peak_mb"] > 10
    assert run["rps"] < 8 / 0.01


def test_a_client_that_fails_is_an_error_with_its_words():
    with pytest.raises(ClientFailed, match="datatrove: .*No module named 'datatrove'"):
        Client("datatrove").run(Setting(64, 8, 0.0, 200), cores=(0, 0))
