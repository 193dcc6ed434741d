"""`sdg browse`: the index, its table, the texts behind it, the label court, and who may ask for them."""

import json
import os
import re
import shutil
from urllib.parse import urlencode

import pandas as pd
import pytest

from sdg_helpers import files
from sdg_helpers.audit import labels as audit_labels
from sdg_helpers.browser import serve
from sdg_helpers.browser.folder import write_folder
from sdg_helpers.browser.notebook import show
from sdg_helpers.browser.pages import FOLDER, page_files
from sdg_helpers.browser.site import Site
from sdg_helpers.browser.sources import begun_track
from sdg_helpers.cli.main import main
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import read_verdicts
from sdg_helpers.prompts import load_prompt
from sdg_helpers.runs.run import Track
from sdg_helpers.sft import ChatTemplate, DatasetCard, RowFormat, export_sft
from sdg_helpers.solutions.reading import solutions_of
from tests.helpers.browsing import HOSTILE, LONG, ask, court_track, request, science_track, served, write_track
from tests.helpers.standin import StandIn
from tests.helpers.whole_run import run_stages, write_source


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The math track of a finished run of 12 problems, 3 seeds."""
    folder = tmp_path_factory.mktemp("outputs")
    source = write_source(folder / "source.jsonl", 12)
    with StandIn(accuracy=0.6) as server:
        run_stages(folder / "r", source, server.base_url, 3, upto="sft")
    files.write_json(folder / "r" / "run.yaml", {"profile": "demo", "begun_at": "2026-01-01", "sessions": []})
    return Track(folder / "r" / "math", "math")


def ids(site, **parameters):
    return [row["id"] for row in site.table({name: [str(one)] for name, one in parameters.items()})["rows"]]


def test_the_index_counts_what_the_manifests_count(finished):
    site, exported = Site(finished), finished.stage("sft").manifest["counts"]
    run = site.run()
    assert run["totals"]["problems"] == 12 and run["totals"]["solutions"] == 36 == exported["rows_in"]
    assert run["totals"]["kept"] == exported["rows_out"] and run["export"] == "" and run["unreadable"] == 0
    dropped = {}
    for position in range(12):
        for one in site.problem(position)["solutions"]:
            assert one["kept"] == (one["dropped"] is None)
            dropped[one["dropped"]] = dropped.get(one["dropped"], 0) + 1
    assert dropped.pop(None) == exported["rows_out"] and dropped == exported["dropped"]
    assert {"incorrect", "duplicate"} <= dropped.keys()
    assert sum(bar["problems"] for bar in run["solved"]) == 12
    assert run["totals"]["right"] == sum(
        one.correct is True for one in read_verdicts(finished.rejudged / "verdicts.parquet")
    )


def test_filters_and_sorts_agree_with_the_files(finished):
    site = Site(finished)
    table = pd.read_parquet(finished.rejudged / "verdicts.parquet")
    rates = table.groupby("id")["correct"].mean()
    labels = pd.read_parquet(finished.relabeled / "labels.parquet").set_index("id")
    assert set(ids(site, **{"pass_rate.max": 0.5})) == set(rates[rates <= 0.5].index)
    assert set(ids(site, decision="relabel")) == set(labels[labels["decision"] == "relabel"].index) != set()
    assert set(ids(site, tiers="model")) == set(table[table["how"] == "model"]["id"]) != set()
    assert [rates[one] for one in ids(site, sort="-pass_rate")] == sorted(rates, reverse=True)
    confidence = labels["confidence"].to_dict()
    assert [confidence[one] for one in ids(site, sort="confidence")] == sorted(confidence.values())
    rows = list(files.read_jsonl(finished.problems / "problems.jsonl"))
    assert ids(site, text="IS 4 / 6") == [row["id"] for row in rows if "is 4 / 6" in row["problem"].lower()] != []
    assert ids(site) == [row["id"] for row in rows]
    both = site.table({"decision": ["keep", "relabel"], "page": ["0"]})
    assert both["total"] == 12 and site.table({"page": ["1"]}) == {"total": 12, "rows": []}


def test_filters_that_need_all_rows_are_repeated(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "r" / "math", ignore=shutil.ignore_patterns("sft"))
    track = Track(tmp_path / "r" / "math", "math")
    manifest = export_sft(
        track.stage("solutions"),
        track.rejudged / "verdicts.parquet",
        track.stage("sft"),
        row_format=RowFormat(load_prompt("math/solve"), ChatTemplate("chatml")),
        card=DatasetCard("x", "cc0-1.0"),
        filters={"max_pass_rate": 0.9},
    )
    rows = Site(track).table({"dropped": ["pass_rate"]})["rows"]
    assert manifest["counts"]["dropped"]["pass_rate"] == sum(row["right"] for row in rows) > 0
    assert {row["pass_rate"] for row in rows} == {1.0}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"pasrate.min": "1"}, "no column 'pasrate'"),
        ({"pass_rate": "1"}, "pass_rate.min"),
        ({"pass_rate.min": "nan"}, "expected a number"),
        ({"sort": "id; DROP TABLE problems"}, "no column"),
        ({"page": "-1"}, "expected a number"),
        ({"tiers.min": "1"}, None),  # flags have words, not bounds: an unknown word finds nothing
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(finished, parameters, said):
    site = Site(finished)
    if said is None:
        assert ids(site, **parameters) == []
        return
    with pytest.raises(SdgError, match=re.escape(said)):
        site.table({name: [one] for name, one in parameters.items()})


def test_a_problem_has_every_solution_with_its_verdict_and_request(finished):
    site = Site(finished)
    for row in site.table({})["rows"]:
        found, texts = site.problem(row["position"]), solutions_of(finished.solutions, row["id"])
        assert [one["seed"] for one in found["solutions"]] == [one["seed"] for one in texts] == [0, 1, 2]
        for shown, stored in zip(found["solutions"], texts, strict=True):
            thinking = site.text(row["position"], shown["seed"], "thinking", 0)["text"]
            assert thinking and f"<think>\n{thinking}\n</think>" in stored["generation"]
            assert stored["generation"].endswith(shown["answer"]["text"]) and shown["tokens"] > 0 and shown["how"]
        assert sum(len(one["seeds"]) for one in found["answers"]) == sum(
            bool(one["predicted"]) for one in found["solutions"]
        )
        assert found["messages"][-1]["content"]["text"].startswith(found["problem"]["text"])
    judged = next(row for row in site.table({"tiers": ["model"]})["rows"])
    assert "Judgement: " in site.problem(judged["position"])["replies"][0]["reply"]["text"]


def test_hostile_texts_come_whole_in_pieces(tmp_path):
    rows = [{"id": name, "problem": text, "expected_answer": text[:50]} for name, text in HOSTILE.items()]
    track = write_track(tmp_path / "r", rows, [[LONG + text for text in HOSTILE.values()]])
    site = Site(track)
    for position, text in enumerate(HOSTILE.values()):
        found = site.problem(position)
        first = found["solutions"][0]["answer"]
        assert first["length"] == len(LONG + text) and len(first["text"]) == 8000
        pieces = [first["text"]]
        while sum(map(len, pieces)) < first["length"]:
            pieces.append(site.text(position, 0, "answer", sum(map(len, pieces)))["text"])
        assert "".join(pieces) == LONG + text
        assert len(json.dumps(found)) < 60_000  # only what is shown is sent


def test_a_run_is_shown_as_far_as_it_is(tmp_path, finished):
    rows = list(files.read_jsonl(finished.problems / "problems.jsonl"))
    track = write_track(tmp_path / "r", rows, [])
    totals = Site(track).run()["totals"]
    assert totals["problems"] == 12 and totals["solutions"] == 0 and totals["right"] == 0
    lines = (finished.solutions / "output-rs0.jsonl").read_bytes().splitlines(keepends=True)
    partial = track.solutions / "partial" / "rs0"
    partial.mkdir(parents=True)
    (partial / "2-b.jsonl").write_bytes(lines[3] + lines[1] + b"not a row\n")
    (partial / "1-a.jsonl").write_bytes(lines[1] + lines[0] + lines[5][:40])  # its last line is still being written
    site = Site(track)
    run = site.run()
    assert run["totals"]["solutions"] == 3 and run["unreadable"] == 1 and run["export"] == "not exported yet"
    assert [len(site.problem(position)["solutions"]) for position in range(4)] == [1, 1, 0, 1]
    shown = site.problem(3)["solutions"][0]
    assert (shown["how"], shown["correct"], shown["dropped"], shown["kept"]) == (None, None, None, False)
    assert ids(site, sort="pass_rate") == [row["id"] for row in rows]


def test_failed_solutions_are_listed(tmp_path):
    track = write_track(tmp_path / "r", [{"id": "a", "problem": "?"}], [["4"]])
    failure = {"id": "a", "seed": 1, "reason": "timeout", "detail": "no answer in 1 s"}
    (track.solutions / "failures.jsonl").write_bytes(files.dumps(failure))
    assert Site(track).problem(0)["failures"] == [{"seed": 1, "reason": "timeout", "detail": "no answer in 1 s"}]


def test_code_and_science_tracks(tmp_path):
    rows = [
        {"id": "a", "problem": "Write it.", "language": "python"},
        {"id": "b", "problem": "And?", "language": "cpp"},
    ]
    verdicts = [
        [("p1", True, "tests"), (None, False, "syntax_error")],
        [("p2", False, "wrong_output"), ("p3", None, "filter")],
    ]
    site = Site(write_track(tmp_path / "c", rows, [["x", "y"]] * 2, "code", verdicts, "checked"))
    assert [row["pass_rate"] for row in site.table({})["rows"]] == [0.5, 0.0]
    assert ids(site, tiers="syntax_error") == ["b"] and site.problem(0)["more"]["language"]["text"] == "python"
    track = Track(tmp_path / "s" / "science", "science")
    rows = [{"id": name, "problem": "Which?", "options": {"A": "x", "B": "y"}} for name in "ab"]
    write_track(tmp_path / "s", rows, [["B", "A"]], "science", [[("B", True, "vote"), ("A", None, "vote")]], "voted")
    voted = {"id": ["a", "b"], "expected_answer": ["B", "A"], "votes": 1, "seeds": 1, "reason": ["", "unsure"]}
    pd.DataFrame({**voted, "confidence": [0.9, 0.4]}).to_parquet(track.voted / "labels.parquet")
    shown = Site(track).table({})["rows"]
    assert ids(Site(track), sort="pass_rate") == ids(Site(track), sort="-pass_rate") == ["a", "b"]  # unknown comes last
    assert [(row["decision"], row["reason"], row["pass_rate"]) for row in shown] == [
        ("voted", None, 1.0),
        ("undecided", "unsure", None),
    ]


def test_the_index_is_kept_until_the_run_changes(tmp_path):
    track = write_track(tmp_path / "r", [{"id": "a", "problem": "?"}], [["4"]])
    index = tmp_path / "r" / ".browser" / "math.sqlite"
    Site(track)
    before = index.stat().st_ino
    Site(track)
    assert index.stat().st_ino == before
    os.link(index, tmp_path / "old")  # so that its number is not given to another file
    (track.solutions / "output-rs0.jsonl").unlink()
    assert Site(track).run()["totals"]["solutions"] == 0 and index.stat().st_ino != before
    index.write_bytes(b"not a database")
    assert Site(track).run()["totals"]["problems"] == 1
    assert [path.name for path in index.parent.iterdir()] == ["math.sqlite"]


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    track = write_track(tmp_path / "r", [{"id": "a", "problem": "?"}], [["a long answer"]])
    site = Site(track)
    (track.solutions / "output-rs0.jsonl").write_bytes(b"{}\n")
    with pytest.raises(SdgError, match="has changed since the browser read it"):
        site.problem(0)


# -- who may ask -------------------------------------------------------------------------------------------------------


@pytest.fixture
def court_server(tmp_path):
    with served(court_track(tmp_path / "r")) as server:
        yield server


def test_only_who_knows_the_address_gets_something(court_server):
    base = f"http://127.0.0.1:{court_server.server_port}"
    for path in ("/", "/api/run", "/x/", f"/{court_server.token}", f"/{court_server.token}x/", "//"):
        assert request(base + path)[0] == 403
    status, headers, body = ask(court_server, "")
    assert status == 200 and b"<!DOCTYPE html>" in body and headers["Content-Type"].startswith("text/html")
    assert ask(court_server, "api/run")[0] == 200
    for path in ("../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "katex/../../../pages.py", "api/", "nothing.js"):
        assert ask(court_server, path)[0] in (400, 404)


def test_another_name_for_this_machine_is_refused(court_server):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example:80", ""):
        assert ask(court_server, "api/run", Host=host)[0] == 403
    for host in ("localhost:8000", "127.0.0.1", "[::1]:9"):  # through a tunnel, the port is another one
        assert ask(court_server, "api/run", Host=host)[0] == 200


def test_every_reply_forbids_scripts_and_framing_by_others(court_server):
    replies = [ask(court_server, path) for path in ("", "app.js", "api/run", "nothing")]
    replies.append(request(f"http://127.0.0.1:{court_server.server_port}/"))
    for _, headers, _ in replies:
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        assert "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*" in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store" and "Python" not in headers["Server"]


def test_a_decision_comes_from_the_page_only(court_server):
    given = {"position": 0, "choice": "keep"}
    own = court_server.url.split("/" + court_server.token)[0]
    for origin in ({}, {"Origin": "null"}, {"Origin": "http://evil.example"}, {"Origin": "http://localhost:1"}):
        assert ask(court_server, "api/decide", given, **origin)[0] == 403
    assert ask(court_server, "api/decide", given, Origin=own, Content_Type="text/plain")[0] == 403
    assert request(f"{own}/api/decide", given, Origin=own)[0] == 403
    assert ask(court_server, "api/decide", {"x": "y" * 70_000}, Origin=own)[0] == 413
    assert ask(court_server, "api/decide", [1], Origin=own)[0] == 400
    assert ask(court_server, "api/decide", given)[0] == 403 and ask(court_server, "api/decide")[0] == 400
    path = court_server.site.track.folder.parent / audit_labels.FILE
    assert not path.exists()
    assert ask(court_server, "api/decide", given, Origin=own)[0] == 200 and path.exists()


@pytest.mark.parametrize("port", [99_999, -1])
def test_a_port_that_cannot_be_is_refused(court_server, port):
    with pytest.raises(SdgError, match=f"cannot listen on port {port}: .*leave out --port"):
        serve(court_server.site, port)
    with pytest.raises(SdgError, match="cannot listen on port .*in use"):
        serve(court_server.site, court_server.server_port)


def test_errors_are_told_as_json(court_server):
    for query, said in (
        ({"position": "99"}, "no problem number 99"),
        ({"position": "x"}, "expected a number"),
        ({}, "position is missing"),
    ):
        status, _, body = ask(court_server, f"api/problem?{urlencode(query)}")
        assert status == 400 and said in json.loads(body)["error"]


def test_the_page_loads_nothing_from_elsewhere():
    texts = {name: path.read_text() for name, path in page_files().items() if path.suffix in (".html", ".js", ".css")}
    ours = {name: text for name, text in texts.items() if not name.startswith("katex/")}
    assert {"index.html", "app.js", "style.css"} <= ours.keys()
    for name, text in ours.items():
        assert not re.search(r"https?:|[\"'(]//", text), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", text), name
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|style=", ours["index.html"])
    assert set(re.findall(r'(?:src|href)="([^"]+)"', ours["index.html"])) <= page_files().keys()
    fonts = set(re.findall(r"url\((fonts/[^)]+woff2)\)", texts["katex/katex.min.css"]))
    assert fonts and {f"katex/{name}" for name in fonts} <= page_files().keys()
    assert "MIT License" in (FOLDER / "katex" / "LICENSE").read_text()


def test_a_notebook_shows_the_page_in_a_frame(tmp_path):
    court_track(tmp_path / "r")
    frame = show(tmp_path / "r", height=500)
    assert request(frame.src)[0] == 200 and (frame.width, frame.height) == ("100%", 500)
    assert request(frame.src + "api/docket")[0] == 200


# -- the court ---------------------------------------------------------------------------------------------------------


def relabeled_as(track):
    """Return [expected answer, decision, reason] by problem, as stage 05 applies the decisions."""
    table = pd.read_parquet(track.relabeled / "labels.parquet")
    audit_labels.apply_decisions(table, track.folder.parent / audit_labels.FILE)
    return {row.id: [row.expected_answer, row.decision, row.reason] for row in table.itertuples()}


def test_suspect_labels_come_by_doubt_and_decisions_are_used(tmp_path):
    track = court_track(tmp_path / "r")
    site = Site(track)
    assert site.docket() == {"cases": [2, 1, 0], "decided": {}}  # tie 0.5, open 0.6, new 0.95
    assert [one["is_reference"] for one in site.problem(0)["answers"]] == [False]
    site.decide({"position": 0, "choice": "keep"})
    site.decide({"position": 1, "choice": "confirm", "seed": 1})
    site.decide({"position": 2, "choice": "discard"})
    assert site.docket()["decided"] == {0: "keep", 1: "confirm", 2: "discard"}
    assert relabeled_as(track) == {
        "new": ["7", "keep", "confirmed"],
        "open": ["6", "relabel", "corrected"],
        "tie": ["7", "undecided", "tied"],
        "fine": ["7", "keep", "matched"],
    }
    assert audit_labels.count_errors(tmp_path / "r" / audit_labels.FILE) == (1, 1, pytest.approx(0.05))


def test_every_answer_of_science_is_for_the_court(tmp_path):
    """There is no reference: the winner is one of the answers, and what nobody answered is no case."""
    site = Site(science_track(tmp_path / "r"))
    assert site.docket() == {"cases": [1, 0], "decided": {}}
    assert [one["is_reference"] for one in site.problem(0)["answers"]] == [False]
    with pytest.raises(SdgError, match="has no reference to keep"):
        site.decide({"position": 0, "choice": "keep"})
    site.decide({"position": 0, "choice": "discard"})
    site.decide({"position": 1, "choice": "confirm", "seed": 1})
    assert site.docket()["decided"] == {0: "discard", 1: "confirm"}
    assert audit_labels.right_labels(tmp_path / "r" / audit_labels.FILE) == {"sure": None, "tie": "A"}


def test_second_thoughts_of_the_court_replace_the_first(tmp_path):
    track = court_track(tmp_path / "r")
    site, path = Site(track), tmp_path / "r" / audit_labels.FILE
    for choice, seed in (
        ("confirm", 0),
        ("keep", None),
        ("confirm", 0),
        ("confirm", 1),
        ("keep", None),
        ("confirm", 1),
    ):
        site.decide({"position": 1, "choice": choice, "seed": seed})
    assert relabeled_as(track)["open"] == ["6", "relabel", "corrected"] and site.docket()["decided"] == {1: "confirm"}
    site.decide({"position": 1, "choice": "discard"})
    assert relabeled_as(track)["open"][1] == "undecided" and site.docket()["decided"] == {1: "discard"}
    site.decide({"position": 0, "choice": "confirm", "seed": 0})
    assert relabeled_as(track)["new"] == ["5", "relabel", "corrected"]
    assert audit_labels.count_errors(path) == (1, 0, pytest.approx(0.05))
    site.decide({"position": 0, "choice": "discard"})
    assert relabeled_as(track)["new"] == ["7", "undecided", "rejected"]
    assert audit_labels.count_errors(path) == (1, 1, pytest.approx(0.05))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"position": 3, "choice": "keep"},
        {"position": 0, "choice": "burn"},
        {"position": "0", "choice": "keep"},
        {"position": True, "choice": "keep"},
        {"position": 0, "choice": "confirm"},
        {"position": 0, "choice": "confirm", "seed": 9},
        {"position": 0, "choice": "confirm", "seed": "0 OR 1"},
    ],
)
def test_the_court_refuses_what_is_no_decision(tmp_path, given):
    site = Site(court_track(tmp_path / "r"))
    with pytest.raises(SdgError):
        site.decide(given)
    assert not (tmp_path / "r" / audit_labels.FILE).exists()


# -- a folder, and the command -----------------------------------------------------------------------------------------


def test_a_folder_holds_the_page_and_its_data(tmp_path):
    rows = [{"id": name, "problem": text, "expected_answer": "4"} for name, text in HOSTILE.items()]
    site = Site(
        write_track(tmp_path / "r", rows, [[f"<think>\n{LONG}\n</think>\n\n{text}" for text in HOSTILE.values()]])
    )
    page = write_folder(site, tmp_path / "out", most=5)
    html = page.read_text()
    assert 'data-mode="folder"' in html and "Content-Security-Policy" in html and "owned" not in html
    data = {}
    for path in (tmp_path / "out" / "data").iterdir():
        name, value = re.fullmatch(r'sdg\.receive\("([a-z]+(?:-\d+)?)", (.*)\);\n', path.read_text(), re.S).groups()
        assert path.name == f"{name}.js"
        data[name] = json.loads(value)
    run = data["run"]
    assert [row["id"] for row in run["rows"]] == list(HOSTILE)[:5] and run["totals"]["problems"] == len(HOSTILE)
    problems = {key: one for name, chunk in data.items() if name != "run" for key, one in chunk.items()}
    assert set(problems) == {"0", "1", "2", "3", "4"} and len(run["chunks"]) == len(data) - 1
    solution = problems["0"]["solutions"][0]
    assert solution["thinking"] == {"text": LONG[:20_000], "length": len(LONG)}
    assert solution["answer"]["text"] == HOSTILE["script"]
    with pytest.raises(SdgError, match="is not an empty folder"):
        write_folder(site, tmp_path / "out")
    with pytest.raises(SdgError, match="at least one problem, not -1"):
        write_folder(site, tmp_path / "new", most=-1)
    assert not (tmp_path / "new").exists()


def test_the_command_writes_a_folder_and_names_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SDG_OUTPUTS", str(tmp_path))
    court_track(tmp_path / "r")
    assert main(["browse", "r", "--to", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip().endswith("index.html") and (tmp_path / "out" / "index.html").exists()
    assert main(["browse", "r", "--track", "code"]) == 2
    assert "run 'r' has no track 'code'. It has: math." in capsys.readouterr().err
    assert main(["browse", "other"]) == 2
    with pytest.raises(SdgError, match="no track yet"):
        begun_track(tmp_path / "nothing")
