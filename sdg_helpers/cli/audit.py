"""`sdg judge audit`: look at decisions of the judge, and see how often each tier is wrong."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sdg_helpers.cli.console import print_table
from sdg_helpers.cli.main import Add
from sdg_helpers.errors import SdgError


def add_commands(add: Add) -> None:
    """Add judge."""
    judge = add("judge", _audit, "check a sample of the judge's decisions yourself, and see the error of every tier")
    judge.add_argument("action", choices=["audit"])
    judge.add_argument("run", metavar="RUN")
    judge.add_argument(
        "--per-tier", metavar="N", type=int, default=5, help="how many per tier and verdict (default: 5)"
    )
    judge.add_argument("--seed", metavar="N", type=int, default=0, help="draws another sample (default: 0)")


def _audit(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.judging import audit

    folder = runs.existing_run(arguments.run)
    track, decisions = runs.Track(folder / "math", "math"), folder / audit.FILE
    stores = [stage / "comparisons.jsonl" for stage in (track.judged, track.rejudged)]
    if not any(store.exists() for store in stores):
        raise SdgError(f"{track.judged}: nothing has been judged yet. Run notebook math/04 first.")
    rows = audit.sample_decisions(stores, decisions, arguments.per_tier, arguments.seed)
    if sys.stdin.isatty():
        _ask(rows, track.problems / "problems.jsonl", decisions)
    else:
        print(f"{len(rows)} decisions to look at. Run this in a terminal to decide.")
    _print_errors(decisions)


def _ask(rows: list[dict[str, Any]], problems: Path, decisions: Path) -> None:
    from sdg_helpers.judging import audit
    from sdg_helpers.problems.problem_file import read_problems

    wanted = {row["id"] for row in rows}
    texts = {row["id"]: row["problem"] for row in read_problems(problems) if row["id"] in wanted}
    print("Is the answer right? y: yes, n: no, s: skip, q: quit. The judge's own verdict is not shown.")
    for number, row in enumerate(rows, 1):
        print(f"\n[{number}/{len(rows)}] {_plain(texts.get(row['id'], '(problem not found)'), 600)}")
        print(f"  expected: {_plain(row['expected_answer'])}\n  answer:   {_plain(row['predicted_answer'])}")
        key = ""
        while key not in ("y", "n", "s", "q"):
            key = input("  y/n/s/q: ").strip().lower()[:1]
        if key == "q":
            return
        if key != "s":
            audit.record_decision(decisions, row, key == "y")


def _plain(text: str, limit: int = 200) -> str:
    """Return hostile text as one printable line."""
    line = "".join(one if one.isprintable() else " " for one in " ".join(text.split()))
    return line if len(line) <= limit else line[:limit] + "…"


def _print_errors(decisions: Path) -> None:
    from sdg_helpers.judging import audit

    rows = [["tier", "checked", "errors", "error rate", "90 % interval"]]
    for tier, found in audit.tier_errors(decisions).items():
        if found.decisions:
            low, high = found.interval
            rows.append([tier, str(found.decisions), str(found.errors), f"{found.rate:.1%}", f"{low:.1%} – {high:.1%}"])
    print_table(rows if len(rows) > 1 else [["Nobody has decided anything yet."]])
    kappa = audit.cohens_kappa(decisions)
    if kappa is not None:
        print(f"Agreement beyond chance (Cohen's kappa): {kappa:.2f}")
        print("To use your decisions, run `sdg reset RUN judged` and `sdg run` again. No reply is asked for twice.")
