"""Runs to browse: a finished one from the scripted server, and small ones written by hand."""

import json
import urllib.error
import urllib.request
from contextlib import contextmanager
from threading import Thread

import pandas as pd

from sdg_helpers import files
from sdg_helpers.browser import serve
from sdg_helpers.browser.site import Site
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions.rows import solution_line

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> javascript:alert(3)"
LONG = "x" * 1_000_000
HOSTILE = {
    "script": SCRIPT,
    "svg": '<svg onload="document.title=\'owned\'"><a href="javascript:alert(1)">click</a></svg> ]]> --> </textarea>',
    "maths": r"$\href{javascript:document.title='owned'}{x}$ $\includegraphics{http://evil.example/x.png}$ "
    r"$\htmlData{onclick=alert(1)}{y}$ $\rule{999999em}{999999em}$ $\def\a{\a\a}\a$ $</span><script>alert(1)</script>$",
    "nested": "$" + "{" * 3000 + "}" * 3000 + "$" + "\\boxed{" * 2000 + "$$" * 5000,
    "bidi": "safe \u202e txet neddih \u2066\u200b end \u0007",
    "fence": "```python\nprint('</code><script>alert(1)</script>')\n```\n```html\n" + SCRIPT + "\n" + '"' * 2000,
    "arabic": "ما مجموع $2$ و $3$؟",
}


def write_track(folder, rows, generations, track="math", verdicts=None, stage="judged", labels=None):
    """Write a track by hand. rows: problems; generations: by seed, the texts in the problems' order; verdicts: by
    seed, (predicted, correct, how) each; labels: columns of labels.parquet. Returns the track."""
    made = Track(folder / track, track)
    made.problems.mkdir(parents=True)
    (made.problems / "problems.jsonl").write_bytes(b"".join(map(files.dumps, rows)))
    files.write_json(folder / "run.yaml", {"profile": "demo", "begun_at": "2026-01-01", "sessions": []})
    made.solutions.mkdir()
    for seed, texts in enumerate(generations):
        lines = [
            solution_line(row, seed=seed, generation=text, finish_reason="stop", num_generated_tokens=len(text) // 4)
            for row, text in zip(rows, texts, strict=True)
        ]
        (made.solutions / f"output-rs{seed}.jsonl").write_bytes(b"".join(lines))
    if verdicts:
        judged = getattr(made, stage)
        with VerdictWriter(judged / "verdicts.parquet") as table:
            for seed, of_seed in enumerate(verdicts):
                for row, (predicted, correct, how) in zip(rows, of_seed, strict=True):
                    table.add(row["id"], seed, predicted, row.get("expected_answer", ""), correct, how)
        files.write_json(judged / "manifest.json", {"counts": {"rows_in": 0, "rows_out": 0, "dropped": {}}})
    if labels:
        folder = made.voted if track == "science" else made.relabeled
        folder.mkdir(exist_ok=True)
        pd.DataFrame(labels).to_parquet(folder / "labels.parquet", index=False)
    return made


def court_track(folder):
    """A track with a new label, two undecided ones and a kept one, and two solutions of each."""
    names = ("new", "open", "tie", "fine")
    rows = [{"id": name, "problem": f"What is {name}?", "expected_answer": "7"} for name in names]
    answers = [("5", "5", "5", "7"), ("5", "6", "6", "7")]
    texts = [[f"<think>\nhm\n</think>\n\nIt is \\boxed{{{one}}}" for one in of_seed] for of_seed in answers]
    labels = {
        "id": names,
        "expected_answer": ["5", "7", "7", "7"],
        "original_expected_answer": "7",
        "decision": ["relabel", "undecided", "undecided", "keep"],
        "reason": ["majority", "unsure", "tied", "matched"],
        "votes": [2, 1, 1, 2],
        "seeds": 2,
        "tied": False,
        "agreement": 0.5,
        "confidence": [0.95, 0.6, 0.5, 1.0],
    }
    verdicts = [[(one, one == "7" or place == 0, "exact") for place, one in enumerate(of_seed)] for of_seed in answers]
    return write_track(folder, rows, texts, verdicts=verdicts, stage="rejudged", labels=labels)


def science_track(folder):
    """A track with a question that was voted on, a tie, and one that nobody answered; two solutions of each."""
    names, answers = ("sure", "tie", "silent"), [("A", "B", None), ("A", "A", None)]
    rows = [{"id": name, "problem": f"Which is {name}?", "options": ["one", "two"]} for name in names]
    texts = [[f"<think>\nhm\n</think>\n\nIt is \\boxed{{{one}}}" for one in of_seed] for of_seed in answers]
    labels = {
        "id": names,
        "expected_answer": ["A", "B", ""],
        "votes": [2, 1, 0],
        "seeds": 2,
        "confidence": [0.9, 0.3, 0.0],
        "tied": [False, True, False],
        "reason": ["", "tied", "no_votes"],
    }
    verdicts = [
        [(one, {0: True, 1: None, 2: None}[place], "vote") for place, one in enumerate(of_seed)] for of_seed in answers
    ]
    return write_track(folder, rows, texts, "science", verdicts, "voted", labels)


@contextmanager
def served(track):
    """Serve a track; yields the server."""
    with serve(Site(track)) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path, body=None, **headers):
    """Return (status, headers, body) of a request to a path behind the server's address."""
    return request(server.url + path, body, **headers)


def request(url, body=None, **headers):
    """Return (status, headers, body); body: sent as JSON in a POST."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **names})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()
