"""What notebooks show: hostile text stays text, figures come from tables of any size."""
import matplotlib
import pandas as pd
import pytest

matplotlib.use("Agg")
from sdg_helpers import plots, viewer  # noqa: E402

SCRIPT = '<script>alert(1)</script><img src=x onerror="x()">$\\href{javascript:x}{y}$'
PROBLEM = {"id": SCRIPT, "problem": SCRIPT, "expected_answer": SCRIPT}
SOLUTION = {"seed": 0, "num_generated_tokens": 3, "finish_reason": SCRIPT, "generation": SCRIPT}
VERDICT = {"correct": None, "predicted_answer": SCRIPT, "how": SCRIPT}


@pytest.mark.parametrize("shown", [
    lambda: viewer.show_messages([{"role": "user", "content": SCRIPT}]),
    lambda: viewer.show_table([{SCRIPT: SCRIPT}]),
    lambda: viewer.show_table(pd.DataFrame({"a": [SCRIPT]})),
    lambda: viewer.show_solutions(PROBLEM, [SOLUTION], {0: VERDICT}),
], ids=["messages", "rows", "frame", "solutions"])
def test_hostile_text_is_escaped_wherever_it_stands(shown):
    html = shown().data
    assert "&lt;script&gt;" in html and "<script" not in html and "<img" not in html


@pytest.mark.parametrize("number, cell", [(540_000, "540,000"), (540_000.0, "540,000"), (0.12345, "0.123"),
                                          (999.7, "1,000"), (4.0, "4"), (float("nan"), ""), (float("inf"), "inf")])
def test_a_number_in_a_table_is_readable(number, cell):
    assert f">{cell}</td>" in viewer.show_table([{"n": number}]).data


def test_a_long_text_keeps_its_beginning_and_its_end():
    short = viewer.shorten("a" * 1_000_000 + "END", 300)
    assert len(short) < 400 and short.startswith("aaa") and short.endswith("END") and "999,703 characters" in short


@pytest.mark.parametrize("correct, said", [(True, "is right"), (False, "is wrong"), (None, "is undecided")])
def test_a_verdict_is_said_beside_its_solution(correct, said):
    html = viewer.show_solutions(PROBLEM, [SOLUTION], {0: {**VERDICT, "correct": correct}}).data
    assert said in html


def verdicts(problems, seeds):
    rows = [(f"p{i}", s, [True, False, None][(i + s) % 3]) for i in range(problems) for s in range(seeds)]
    frame = pd.DataFrame(rows, columns=["id", "seed", "correct"])
    return frame.astype({"correct": "boolean"})


def test_figures_show_what_the_table_holds(tmp_path):
    table = verdicts(100, 4)
    grid = plots.verdict_grid(table, "grid", max_problems=7)
    assert grid.axes[0].images[0].get_array().shape == (4, 7)
    assert set(grid.axes[0].images[0].get_array().ravel().tolist()) == {0, 1, 2}
    rates = plots.pass_rates({"before": table, "after": table}, "rates")
    assert sum(bar.get_height() for bar in rates.axes[0].patches) == 200
    bars = plots.bars({"a": 3, "b": 540_000}, "bars")
    assert [bar.get_width() for bar in bars.axes[0].patches] == [3, 540_000]
    assert [text.get_text() for text in bars.axes[0].texts] == [" 3", " 540,000"]
    plots.save(bars, tmp_path / "figures" / "x.png")
    assert (tmp_path / "figures" / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("figure", [
    lambda: plots.bars({}, "t"), lambda: plots.lengths([1, 2], [0, 0, 0], "t"),
    lambda: plots.verdict_grid(verdicts(1, 1), "t"),
    lambda: plots.agreement(pd.DataFrame({"total": [0], "relabeled": [False], "agreement": [float("nan")]}), "t"),
], ids=["bars", "lengths", "grid", "agreement"])
def test_nothing_to_show_is_no_error(figure):
    assert figure().axes[0].get_title(loc="left") == "t"
