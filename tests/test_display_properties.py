"""Any text in figures and boxes: drawn letter by letter, of bounded size, and escaped."""

import html
import io
import re

import matplotlib
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

matplotlib.use("Agg")
from sdg_helpers import plots, viewer
from tests.helpers.properties import inputs
from tests.test_viewer_and_plots import verdicts

HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.lists(
        st.sampled_from(
            ["$x^$", "$", "\\$", "\\", "\ud800", "\0", "\x1b[31m", "\n", "\u202e", "{", "}", "_a", "^", "%", "数"]
        )
    ).map("".join),
    st.sampled_from(["$\\frac{", "a" * 100_000, "$" * 1001, "", " ", "others (3)", "-", "1e5"]),
)


def drawn(figure):
    """The size in inches of a figure that was rendered as PNG."""
    out = io.BytesIO()
    figure.savefig(out, dpi=20)
    assert out.getvalue().startswith(b"\x89PNG")
    return figure.get_size_inches()


@pytest.mark.filterwarnings("ignore:Glyph")
@inputs(3)
@given(st.dictionaries(HOSTILE, st.integers(0, 10**9), max_size=6))
def test_figures_of_any_names_are_drawn(counts):
    figure = plots.bars(counts, "t")
    assert drawn(figure).max() < 10
    shown = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert len(shown) == len(counts) and all(len(text.replace("\\$", "$")) <= 40 for text in shown)
    names = dict.fromkeys(list(counts)[:2], 1)
    drawn(plots.funnel({"counts": {"rows_in": 9, "rows_out": 1, "dropped": counts}}, "t", "in", "out"))
    drawn(plots.pass_rates({name: verdicts(2, 2) for name in names} or {"a": verdicts(1, 1)}, "t"))
    drawn(
        plots.grouped(
            pd.DataFrame({"x": list(counts.values()) or [1]}, index=pd.Index(list(counts) or ["a"], dtype=object)),
            "t",
            "y",
        )
    )


def test_figures_are_bounded_and_their_counts_add_up():
    counts = {f"source {number}": number for number in range(1000)}
    figure = plots.bars(counts, "t")
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert sum(widths) == sum(counts.values()) and len(widths) == 20 and drawn(figure).max() < 10
    assert names[0] == "source 981" and names[-1] == "others (981)"
    manifest = {"counts": {"rows_in": 10**6, "rows_out": 1, "dropped": counts}}
    axes = plots.funnel(manifest, "t", "rows", "questions", {"problems": 0}).axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(names) == 19 and (names[0], names[-3:]) == ("rows", ["dropped: others (985)", "questions", "problems"])
    assert drawn(plots.verdict_grid(verdicts(3, 500), "t")).max() < 16
    assert drawn(plots.grouped(pd.DataFrame({"x": range(5000)}), "t", "y")).max() < 10


def test_names_are_shown_letter_by_letter():
    assert plots.labels.label("$x^$ forum") == r"\$x^\$ forum"
    assert plots.labels.label("a\n\tb\0\ud800") == "a b\ufffd\ufffd"
    assert drawn(plots.bars({"$x^$ forum": 1, "\ud800": 2}, "t")).max() < 10
    assert plots.labels.label("x" * 41) == "x" * 39 + "…" and plots.labels.label("x" * 40) == "x" * 40
    axes = plots.bars({"a" * 99 + "1": 1, "a" * 99 + "2": 2}, "t").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1, 2]


@inputs(100)
@given(
    st.one_of(HOSTILE, st.sampled_from(["<script>", "</pre><img src=x onerror=alert(1)>", "&lt;b", "\"'>"])), HOSTILE
)
def test_no_tag_of_a_text_survives(text, name):
    shown = viewer.show_boxes([viewer.box(name, text), viewer.show_table([{name: text}]).data]).data
    shown.encode()
    tags = {tag.split()[0] for tag in re.findall(r"</?([^>]*)>", shown)}
    assert tags <= {"div", "b", "pre", "table", "thead", "tbody", "tr", "th", "td"}
    assert html.escape(str(text)[:50].encode("utf-16", "surrogatepass").decode("utf-16", "replace")) in shown
