"""`sdg report`: what the page says of a run, of two runs, and that hostile text stays text."""

import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from sdg_helpers import files
from sdg_helpers.cli.main import main
from sdg_helpers.completions import sessions
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_size
from sdg_helpers.reports import write_report
from sdg_helpers.reports.comparing import changed_counts, changed_settings
from sdg_helpers.reports.gathering import gather, order_of
from sdg_helpers.reports.samples import draw_samples
from sdg_helpers.runs.run import Track
from tests.helpers.standin import StandIn
from tests.helpers.whole_run import run_stages, write_source

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} javascript:alert(3) \u202e"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A folder with two finished runs, of 2 and 3 seeds; the second problem of both is hostile."""
    folder = tmp_path_factory.mktemp("outputs")
    source = write_source(folder / "source.jsonl", 10)
    rows = [*files.read_jsonl(source), {"problem": HOSTILE, "expected_answer": "4", "problem_source": HOSTILE}]
    source.write_bytes(b"".join(map(files.dumps, rows)))
    with StandIn(accuracy=0.6) as server:
        for name, seeds in (("a", 2), ("b", 3)):
            run_stages(folder / name, source, server.base_url, seeds, upto="sft")
            history = {"profile": "demo", "begun_at": "2026-01-01", "sessions": [{"git_commit": "abc", "versions": {}}]}
            files.write_json(folder / name / "run.yaml", history)
    (folder / "a" / "figures").mkdir()
    (folder / "a" / "figures" / "01-one.png").write_bytes(b"\x89PNG\r\n")
    return folder


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, *one) for one in attrs]

    def handle_data(self, data):
        self.text += data


def test_the_page_tells_what_came_out_and_shows_samples(outputs):
    path = write_report(outputs / "a", "math")
    page = Page(path)
    exported = files.read_json(outputs / "a" / "math" / "sft" / "manifest.json")["counts"]
    rows = dict(re.findall(r"<td>([a-z ]+)</td><td class=\"number\">([\d,]+)</td><td><span", path.read_text()))
    assert rows["problems"] == "11" and rows["solutions"] == "22" and rows["exported rows"] == str(exported["rows_out"])
    for reason in exported["dropped"]:
        assert reason in page.text
    for said in (
        "standin",
        "math/solve-few-shot",
        "are expected to be wrong",
        "num_seeds",
        "dropped: incorrect",
        "abc",
        "GPU-hours",
    ):
        assert said in page.text
    assert path.stat().st_size < 10e6 and ("img", "src", "data:image/png;base64,iVBORw0K") in page.attributes


def test_hostile_text_stays_text_and_nothing_is_loaded(outputs):
    path = write_report(outputs / "a", "math")
    page = Page(path)
    assert "script" not in page.tags and "a" not in page.tags and "link" not in page.tags
    assert not [one for one in page.attributes if one[1].startswith("on") or "javascript" in (one[2] or "")]
    assert HOSTILE in page.text and "49" not in re.findall(r"onerror=alert\(2\)> (\S+)", page.text)
    assert all(value.startswith("data:") for tag, name, value in page.attributes if name in ("src", "href"))
    assert "default-src 'none'" in path.read_text()


def test_two_runs_are_compared(outputs):
    page = write_report(outputs / "a", "math", outputs / "b").read_text()
    assert "<td>solutions</td><td>num_seeds</td><td>2</td><td>3</td>" in page
    numbers = re.search(r"<td>solutions</td>" + 3 * r"<td class=\"number\">(\d+)</td>", page)
    assert numbers.groups() == ("22", "33", "11")
    again = write_report(outputs / "a", "math", outputs / "a").read_text()
    assert "Nothing: both runs were made with the same settings." in again


def test_samples_come_from_every_source_and_every_reason(outputs):
    samples = draw_samples(Track(outputs / "b" / "math", "math"), exported=4, per_reason=2)
    exported = [one for one in samples if not one.dropped]
    order = [order_of(one.dropped) for one in samples if one.dropped]
    assert 2 <= len(exported) <= 4 and samples[: len(exported)] == exported and order == sorted(order)
    assert 1 <= sum(one.dropped == "incorrect" for one in samples) <= 2
    assert samples == draw_samples(Track(outputs / "b" / "math", "math"), exported=4, per_reason=2)
    assert all(one.thinking and one.answer for one in exported)


@pytest.mark.parametrize("run", ["a", "b"])
def test_all_samples_together_are_what_the_export_counted(outputs, run):
    """Duplicates included, of which the export keeps the first."""
    samples = draw_samples(Track(outputs / run / "math", "math"), exported=1000, per_reason=1000)
    counts = files.read_json(outputs / run / "math" / "sft" / "manifest.json")["counts"]
    assert counts["dropped"]["duplicate"]
    assert Counter(one.dropped for one in samples) == {"": counts["rows_out"], **counts["dropped"]}


def test_the_command_says_how_large_the_page_is(outputs, monkeypatch, capsys):
    monkeypatch.setenv("SDG_OUTPUTS", str(outputs))
    assert main(["report", "a", "b"]) == 0
    assert re.search(r"report-math-b\.html  \(\d+ KB\)$", capsys.readouterr().out.strip())


@pytest.mark.parametrize(
    "size, text",
    [(0, "0 KB"), (310_400, "310 KB"), (999_600, "1.0 MB"), (1_234_567, "1.2 MB"), (2_300_000_000, "2,300 MB")],
)
def test_sizes_are_readable(size, text):
    assert format_size(size) == text


def test_a_track_that_has_not_begun_is_named(outputs):
    with pytest.raises(SdgError, match="run 'a' has no track 'code'. It has: math."):
        write_report(outputs / "a", "code")


def test_an_unfinished_run_shows_its_speed_so_far_and_the_figures_of_its_track(tmp_path):
    track = Track(tmp_path / "r" / "code", "code")
    track.problems.mkdir(parents=True)
    files.write_json(tmp_path / "r" / "run.yaml", {"profile": "demo", "begun_at": "2026-01-01", "sessions": []})
    record = dict.fromkeys(("rows", "updated_at", *sessions._COUNTS, *sessions._LATENCIES, *sessions._CURRENT), 1)
    files.write_json(
        track.solutions / "partial" / "session-1.json", {**record, "points": [[0, 4, 0], [60, 4, 600], [90, 0, 900]]}
    )
    (tmp_path / "r" / "figures").mkdir()
    for name in ("01-math", "code-01-mine"):
        (tmp_path / "r" / "figures" / f"{name}.png").write_bytes(b"\x89PNG\r\n")
    page = Page(write_report(tmp_path / "r", "code"))
    shown = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert (
        shown == ["measured server-hours", "speed so far", "code-01-mine"]
        and "Spent by the whole run: 0 tokens" in page.text
    )


def test_two_runs_differ_in_what_both_have_done(outputs):
    """A stage that only one has finished is one row, and its counts are no effect of the changed settings."""
    one, other = gather(outputs / "a", "math"), gather(outputs / "b", "math")
    other.parameters.pop("sft")
    settings = changed_settings(one, other)
    assert [row for row in settings if row[0] == "sft"] == [["sft", "", "finished", "not finished"]]
    assert ["solutions", "num_seeds", 2, 3] in settings
    assert not any(name.startswith("dropped in sft") for name, *_ in changed_counts(one, other))
