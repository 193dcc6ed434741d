"""Ask a person, in a terminal or in a notebook: one question at a time, answered by a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sdg_helpers.audit import labels, verdicts
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import find_problems
from sdg_helpers.runs.run import Track

_KEYS = ("y", "n", "s", "q")
Question = tuple[str, str, Callable[[bool], None]]  # id of the problem, what to ask, what records the decision


def check_sample(run: Path, number: int = 5, random_seed: int = 0, read: Callable[[str], str] | None = None) -> None:
    """Ask about up to `number` decisions of each tier and verdict of a run's math track, and as many new labels.

    Keys: y: right, n: wrong, s: skip, q: quit. What the cookbook decided is not shown, and what a person has decided is
    not asked again. read: returns the key pressed, given a prompt (default: input). Where nobody can be asked, as under
    papermill, it prints how many decisions there are to look at. Raises SdgError before anything was judged.
    """
    track = Track(run / "math", "math")
    questions = list(_questions(track, run, number, random_seed))
    texts = find_problems(track.problems / "problems.jsonl", [problem for problem, *_ in questions])
    print(f"{len(questions)} decisions to look at. y: yes, n: no, s: skip, q: quit.")
    for count, (problem, question, record) in enumerate(questions, 1):
        print(f"\n[{count}/{len(questions)}] {_plain(texts[problem]['problem'], 600)}\n{question}")
        key = _read_key(read or input)
        if key == "q":
            return
        if key != "s":
            record(key == "y")


def summarize(run: Path) -> list[dict[str, object]]:
    """Return a row per tier that a person has looked at, and one for new labels: checked, wrong, error rate."""
    rows: list[dict[str, object]] = []
    for tier, found in verdicts.tier_errors(run / verdicts.FILE).items():
        if found.decisions:
            low, high = found.interval
            rate = f"{found.rate:.1%} ({low:.1%} – {high:.1%})"
            rows.append({"decided by": tier, "checked": found.decisions, "wrong": found.errors, "error rate": rate})
    checked, wrong, expected = labels.count_errors(run / labels.FILE)
    if checked:
        rate = f"{wrong / checked:.1%} (expected: {expected / checked:.1%})"
        rows.append({"decided by": "new label", "checked": checked, "wrong": wrong, "error rate": rate})
    return rows


def _questions(track: Track, run: Path, number: int, random_seed: int) -> Iterator[Question]:
    stores = [stage / "comparisons.jsonl" for stage in (track.judged, track.rejudged)]
    if not any(store.exists() for store in stores):
        raise SdgError(f"{track.judged}: nothing has been judged yet. Run notebook math/04 first.")
    decisions = run / verdicts.FILE
    for row in verdicts.sample_decisions(stores, decisions, number, random_seed):
        answers = f"  expected: {_plain(row['expected_answer'])}\n  answer:   {_plain(row['predicted_answer'])}"
        yield row["id"], f"{answers}\n  Are they the same?", _recorder(verdicts.record_decision, decisions, row)
    decisions = run / labels.FILE
    for row in labels.sample_labels(track.relabeled / "labels.parquet", decisions, number, random_seed):
        question = f"  answer: {_plain(row['expected_answer'])}\n  Is it right?"
        yield row["id"], question, _recorder(labels.record_label, decisions, row)


def _recorder(record: Callable[..., None], decisions: Path, row: dict[str, object]) -> Callable[[bool], None]:
    return lambda yes: record(decisions, row, yes)


def _read_key(read: Callable[[str], str]) -> str:
    """Return one of _KEYS; q where nobody can be asked."""
    key = ""
    while key not in _KEYS:
        try:
            key = read("  y/n/s/q: ").strip().lower()[:1]
        except (EOFError, NotImplementedError):  # papermill's kernel raises a NotImplementedError for input()
            print("Nobody can be asked here: run this cell in JupyterLab, or `sdg judge audit RUN` in a terminal.")
            return "q"
    return key


def _plain(text: str, limit: int = 200) -> str:
    """Return hostile text as one printable line."""
    line = "".join(one if one.isprintable() else " " for one in " ".join(text.split()))
    return line if len(line) <= limit else line[:limit] + "…"
