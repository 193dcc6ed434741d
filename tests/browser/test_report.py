"""`sdg report` in a real browser: it opens from disk, asks nobody for anything, and executes nothing."""

import pytest

from sdg_helpers import files
from sdg_helpers.reports import write_report
from tests.helpers.browsing import HOSTILE
from tests.helpers.standin import StandIn
from tests.helpers.whole_run import run_stages, write_source


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    source = write_source(folder / "source.jsonl", 8)
    rows = [*files.read_jsonl(source), *({"problem": text, "expected_answer": "4"} for text in HOSTILE.values())]
    source.write_bytes(b"".join(map(files.dumps, rows)))
    with StandIn(accuracy=0.6) as server:
        run_stages(folder / "r", source, server.base_url, 2, upto="sft")
    files.write_json(folder / "r" / "run.yaml", {"profile": "demo", "begun_at": "2026-01-01", "sessions": []})
    return folder / "r"


def test_the_report_opens_offline_and_executes_nothing(run, visit):
    page = write_report(run, "math").as_uri()
    seen = visit(page, ready="h2")
    seen.shot("report")
    seen.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert seen.page.title() == "r: math" and "from problems to rows" in seen.page.inner_text("body")
    assert seen.requests == [page] and seen.trouble == []
