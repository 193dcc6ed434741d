"""What notebooks show: hostile text stays text, tables add up, figures come from tables of any size."""

import re
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
from sdg_helpers import plots, viewer
from sdg_helpers.coding.program_tests import run_tests
from sdg_helpers.coding.sandboxed_process import Outcome, RunLimits
from sdg_helpers.errors import SdgError

SCRIPT = '<script>alert(1)</script><img src=x onerror="x()">$\\href{javascript:x}{y}$'
PROBLEM = {"id": SCRIPT, "problem": SCRIPT, "expected_answer": SCRIPT}
SOLUTION = {"seed": 0, "num_generated_tokens": 3, "finish_reason": SCRIPT, "generation": SCRIPT}
VERDICT = {"seed": 0, "correct": None, "predicted_answer": SCRIPT, "how": SCRIPT}
MANIFEST = {
    "parameters": {"model": SCRIPT},
    "counts": {"rows_in": 5, "rows_out": 2, "dropped": {SCRIPT: 3}},
    "distinct_solutions": 2,
    "generated_tokens": 1000,
}


@pytest.mark.parametrize(
    "shown",
    [
        lambda: viewer.show_messages([{"role": "user", "content": SCRIPT}]),
        lambda: viewer.show_table([{SCRIPT: SCRIPT}]),
        lambda: viewer.show_table(pd.DataFrame({"a": [SCRIPT]})),
        lambda: viewer.show_solutions(PROBLEM, [SOLUTION], pd.DataFrame([VERDICT])),
        lambda: viewer.show_text(SCRIPT, SCRIPT),
        lambda: viewer.show_sft_rows([{"input": SCRIPT, "output": SCRIPT, "answer": SCRIPT}], also=["answer"]),
        lambda: viewer.facts(SCRIPT, {SCRIPT: SCRIPT}),
        lambda: viewer.counts(MANIFEST, SCRIPT, "rows"),
        lambda: viewer.side_by_side({SCRIPT: {SCRIPT: 1}}, SCRIPT),
        lambda: viewer.generation(MANIFEST, SCRIPT),
    ],
    ids=["messages", "rows", "frame", "solutions", "text", "sft_rows", "facts", "counts", "side_by_side", "generation"],
)
def test_hostile_text_is_escaped_everywhere(shown):
    html = shown().data
    assert "&lt;script&gt;" in html and "<script" not in html and "<img" not in html


@pytest.mark.parametrize(
    "number, cell",
    [
        (540_000, "540,000"),
        (540_000.0, "540,000"),
        (0.12345, "0.123"),
        (999.7, "1,000"),
        (4.0, "4"),
        (float("nan"), ""),
        (float("inf"), "inf"),
        (np.int64(540_000), "540,000"),
        (True, "True"),
        (pd.NA, ""),
        (None, ""),
    ],
)
def test_a_number_in_a_table_is_readable(number, cell):
    assert f">{cell}</td>" in viewer.show_table([{"n": number}]).data


def test_a_long_text_keeps_its_beginning_and_its_end():
    short = viewer.shorten("a" * 1_000_000 + "END", 300)
    assert (
        len(short) < 400 and short.startswith("aaa") and short.endswith("END") and "999,703 characters omitted" in short
    )


@pytest.mark.parametrize("correct, shown", [(True, "is right"), (False, "is wrong"), (None, "is undecided")])
def test_a_solution_shows_its_verdict(correct, shown):
    table = pd.DataFrame([{**VERDICT, "correct": correct}]).astype({"correct": "boolean"})
    other = {**SOLUTION, "seed": 1}
    html = viewer.show_solutions(PROBLEM, [SOLUTION, other], table).data
    assert html.count(shown) == 1 and html.count("answer") == 2  # of the problem, and of the one verdict


def cells(html):
    return re.findall(r">([^<>]*)</t[hd]>", html)


def test_counts_add_up_in_the_table_too():
    html = viewer.counts({"counts": {"rows_in": 5, "rows_out": 2, "dropped": {"too_long": 3}}}, "rows", "problems").data
    assert cells(html) == ["counts", "value", "rows", "5", "dropped: too_long", "-3", "problems", "2"]
    with pytest.raises(SdgError, match="the counts do not add up: 5 rows in, 3 out, dropped {'a': 3}"):
        viewer.counts({"counts": {"rows_in": 5, "rows_out": 3, "dropped": {"a": 3}}}, "rows", "problems")


def test_a_name_that_one_side_lacks_counts_nothing():
    html = viewer.side_by_side({"before": {"right": 3}, "after": {"right": 4, "wrong": 1}}, "verdict").data
    assert cells(html) == ["verdict", "before", "after", "right", "3", "4", "wrong", "0", "1"]


PROGRAM = {**SOLUTION, "finish_reason": "stop", "language": "cpp"}


@pytest.mark.parametrize(
    "digest, correct, how, shown",
    [
        ("2375ee9b1bbe67e3", False, "wrong_output", "program 2375ee9b… is wrong (wrong_output)"),
        ("2375ee9b1bbe67e3", True, "filter", "program 2375ee9b… was not run"),
        (None, False, "unfinished", "no program (unfinished)"),
    ],
)
def test_a_program_is_not_called_an_answer(digest, correct, how, shown):
    problem = {"id": "a-cpp", "problem": "Print it.", "expected_answer": "", "language": "cpp"}
    verdict = {"seed": 0, "correct": correct, "predicted_answer": digest, "how": how}
    html = viewer.show_solutions(problem, [PROGRAM], pd.DataFrame([verdict])).data
    assert f'<b style="font-size:12px">seed 0 · cpp · 3 tokens · stop · {shown}</b>' in html and "answer" not in html


@pytest.mark.parametrize(
    "outcome, detail",
    [
        (Outcome("", 0, b"201\n", b"", 0.1), "test 1 printed: 201"),
        (Outcome("", 0, b"", b"", 0.1), "test 1 printed: nothing"),
        (Outcome("crashed", 1, b"", b"ValueError: x", 0.1), "test 1: ValueError: x"),
    ],
)
def test_a_failed_test_reports_what_was_printed(outcome, detail):
    sandbox = SimpleNamespace(python="python3", run=lambda *_: outcome)
    report = run_tests(sandbox, "print(201)", "python", [{"input": "", "output": "9"}], RunLimits())
    assert report.detail == detail


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
    ticks = plots.bars({"a": 1, "b": 2}, "few").axes[0].get_xticks()
    assert all(float(tick).is_integer() for tick in ticks)  # there is no half problem
    plots.save(bars, tmp_path / "figures" / "x.png")
    assert (tmp_path / "figures" / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "figures" / "x.svg").read_text()


def found(figure):
    """The headline of a figure, on one line."""
    return " ".join(figure.get_suptitle().split())


def test_headlines_say_what_was_found():
    counts = {"rows_in": 5000, "rows_out": 2, "dropped": {"too_long": 3, "no_think_tags": 4995, "other": 0}}
    assert found(plots.funnel({"counts": counts}, "t", "solutions", "rows")) == (
        "5,000 solutions give 2 rows; most of the others: no think tags (4,995)"
    )
    complete = {"counts": {"rows_in": 5, "rows_out": 5, "dropped": {}}}
    assert found(plots.funnel(complete, "t", "solutions", "rows")) == "5 solutions give 5 rows"
    before, after = verdicts(4, 3), verdicts(4, 3)
    before["correct"], after["correct"] = False, after["id"] != "p0"
    assert found(plots.pass_rates({"before": before, "after": after}, "t")) == (
        "3 of 4 problems are always solved, 1 never (before: 0 and 4)"
    )
    assert found(plots.verdict_grid(verdicts(3, 3), "t")) == "3 of 9 solutions are right, 3 undecided"
    assert found(plots.lengths([100, 200], [1, 5, 4], "t", limit=300, num_cut=2)) == (
        "60% of the 10 solutions have fewer than 200 generated tokens; 2 (20%) were cut at 300"
    )
    assert (
        found(plots.lengths([100, 200], [1, 2, 4], "t")) == "Half of the 7 solutions have 200 generated tokens or more"
    )
    assert found(plots.similarities([{"similarity": 0.95}, {"similarity": 0.5}], "t")).startswith("1 of 2 pairs")


def curves(figure):
    return [line.get_ydata().round(4).tolist() for line in figure.axes[0].get_lines()]


def test_pass_at_k_counts_subsets_and_majorities():
    answers = {"p0": ["1", "1.0", "2", None], "p1": ["5", "6", "7", "7"], "p2": ["9"] * 4}
    rows = [(name, seed, answer) for name, given in answers.items() for seed, answer in enumerate(given)]
    table = pd.DataFrame(rows, columns=["id", "seed", "predicted_answer"])
    table["correct"] = pd.array([True, True, False, False, True, False, False, False] + [False] * 4, "boolean")
    at_least_one, majority = curves(plots.pass_at_k(table, "t"))
    assert at_least_one[0] == round((0.5 + 0.25 + 0) / 3, 4) and at_least_one[3] == round(2 / 3, 4)
    assert at_least_one[1] == round((1 - 1 / 6 + 1 - 3 / 6) / 3, 4)  # of two, by counting the pairs
    assert majority[3] == round(1 / 3, 4)  # 1 and 1.0 vote together, no answer does not, 7 outvotes the right 5
    undecided = table.assign(correct=table["correct"].mask(table["id"] == "p0"))
    assert curves(plots.pass_at_k(undecided, "t"))[0][0] == round(0.25 / 2, 4)


def bars_at(figure):
    """{centre: height} of the visible bars."""
    return {
        round(bar.get_x() + bar.get_width() / 2, 2): bar.get_height()
        for bar in figure.axes[0].patches
        if bar.get_height()
    }


@pytest.mark.parametrize(
    "seeds, right, found",
    [
        (2, [0, 0, 1, 2], {0: 2, 0.5: 1, 1: 1}),
        (3, [0, 1, 2, 3], {0: 1, 0.33: 1, 0.67: 1, 1: 1}),
        (16, [0, 1, 8, 15, 16], {0: 1, 0.1: 1, 0.5: 1, 0.9: 1, 1: 1}),
    ],
)
def test_a_bar_of_pass_rates_is_centred_on_its_rate(seeds, right, found):
    """right: how many solutions of each problem are right."""
    table = pd.DataFrame(
        [(f"p{i}", seed, seed < count) for i, count in enumerate(right) for seed in range(seeds)],
        columns=["id", "seed", "correct"],
    )
    figure = plots.pass_rates({"judged": table}, "t")
    assert bars_at(figure) == found
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) == min(seeds, 10) + 1 and {round(tick, 2) for tick in ticks} >= set(found)


def test_a_bar_of_agreement_is_centred_on_its_share():
    labels = pd.DataFrame(
        {
            "seeds": [4, 4, 4, 2, 0],
            "votes": [2, 4, 4, 1, 0],
            "agreement": [0.5, 1.0, 1.0, 0.5, 0.0],
            "decision": ["keep", "keep", "relabel", "relabel", "keep"],
        }
    )
    figure = plots.agreement(labels, "t", "decision", {"keep": "kept", "relabel": "replaced"})
    middles = [round(bar.get_x() + bar.get_width() / 2, 2) for bar in figure.axes[0].patches]
    assert middles == 2 * [0, 0.25, 0.5, 0.75, 1]
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0, 0, 1, 0, 1] * 2
    assert [bar.get_y() for bar in figure.axes[0].patches[5:]] == [0, 0, 1, 0, 1]


def test_a_funnel_shows_what_was_dropped_between_rows_in_and_out():
    counts = {"rows_in": 5, "rows_out": 2, "dropped": {"too_long": 3}}
    axes = plots.funnel({"counts": counts}, "t", "rows", "questions", {"problems": 4}).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "rows",
        "dropped: too_long",
        "questions",
        "problems",
    ]
    assert [bar.get_width() for bar in axes.patches] == [5, 3, 2, 4]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2


def test_lengths_of_texts_are_counted_in_doubling_bins():
    texts = ["a" * size for size in (15, 16, 31, 32, 40_000)]
    axes = plots.text_lengths(texts, "t", "problems").axes[0]
    shown = dict(zip([tick.get_text() for tick in axes.get_xticklabels()], axes.patches, strict=True))
    assert {label: bar.get_height() for label, bar in shown.items() if bar.get_height()} == {
        "<16": 1,
        "<32": 2,
        "<64": 1,
        "≥32,768": 1,
    }


def test_similarities_are_counted_in_steps_of_a_tenth():
    pairs = [{"similarity": value} for value in (-0.2, 0.39, 0.4, 0.49, 0.95, 1.0)]
    axes = plots.similarities(pairs, "t").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2, 2, 0, 0, 0, 0, 2]
    assert axes.get_yticklabels()[-1].get_text() == "0.90 to 1.00"


def test_lengths_name_what_they_count():
    assert plots.lengths([1, 2], [0, 3, 0], "t", "characters", "problems").axes[0].get_ylabel() == "problems"


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots.bars({}, "t"),
        lambda: plots.lengths([1, 2], [0, 0, 0], "t"),
        lambda: plots.text_lengths([], "t", "problems"),
        lambda: plots.similarities([], "t"),
        lambda: plots.verdict_grid(verdicts(1, 1), "t"),
        lambda: plots.agreement(
            pd.DataFrame({"seeds": [0], "votes": [0], "decision": ["keep"], "agreement": [0.0]}), "t", "decision", {}
        ),
        lambda: plots.calibration([], "t"),
        lambda: plots.pass_at_k(verdicts(0, 0).assign(predicted_answer=[]), "t"),
        lambda: plots.speed({}, "t"),
        lambda: plots.grid(pd.DataFrame({"topic": [], "level": [], "right": []}), "topic", "level", "right", "t"),
    ],
    ids=[
        "bars",
        "lengths",
        "text_lengths",
        "similarities",
        "grid",
        "agreement",
        "calibration",
        "pass_at_k",
        "speed",
        "topics",
    ],
)
def test_nothing_to_show_is_no_error(figure):
    assert figure().axes[0].get_title(loc="left") == "t"


def test_speed_over_time_marks_later_starts_and_says_what_was_found():
    timeline = {
        "begun_at": 0,
        "step_s": 60,
        "tokens_per_s": [100, 100, 0, 0, 0, *[0] * 20, 100],
        "in_flight": [4, 4, *[0] * 23, 4],
        "starts": [0, 30, 1500],
    }
    figure = plots.speed(timeline, "t")
    assert figure.get_suptitle() == "100 tokens/s while working, idle for 23m00s; started again 1× (dotted)"
    assert figure.axes[1].get_xlabel() == "minutes since the start" and len(figure.axes[0].collections) == 1


def test_a_grid_shows_the_share_and_the_number_of_problems_of_each_pair():
    rows = [("algebra", "easy", 1.0), ("algebra", "hard", 0.5), ("algebra", "hard", 0.0), ("<b>$x$", "easy", 1.0)]
    figure = plots.grid(pd.DataFrame(rows, columns=["topic", "level", "right"]), "topic", "level", "right", "t")
    texts = sorted(text.get_text() for text in figure.axes[0].texts)
    assert texts == ["100% of 1", "100% of 1", "25% of 2"]
    assert figure.get_suptitle() == "Lowest: algebra, hard (25%); all problems 62%"


def test_words_are_not_broken_and_numbers_stand_to_the_right():
    assert viewer.show_table([]).data == viewer.show_table(pd.DataFrame()).data == "<p>No rows.</p>"
    assert ">a</th>" in viewer.show_table([], columns=["a"]).data
    page = viewer.show_table([{"decision": "undecided " * 3, "votes": 3}, {"decision": "x" * 99, "votes": 12}]).data
    assert '<th style="text-align:left;min-width:20ch">decision' in page
    assert '<th style="text-align:right;min-width:0ch">votes' in page and page.count('<td style="text-align:right') == 2


def test_shares_name_the_largest_part():
    figure = plots.shares({"aops_c6": 3, "demo": 9}, "Rows by source", "rows")
    assert figure.get_suptitle() == "The largest part: demo, 9 of 12 rows (75%)"
    for nothing in ({}, {"demo": 0}):
        assert plots.shares(nothing, "Rows by source", "rows").get_suptitle() == ""
