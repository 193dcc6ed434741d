"""`sdg judge audit` and `sdg judge ahead`: check verdicts yourself; judge what an unfinished run has so far."""

from __future__ import annotations

import argparse
from functools import partial

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import print_table


def add_commands(add: Add) -> None:
    """Add judge."""
    judge = add(
        "judge",
        _judge,
        "audit: check a sample of verdicts and new labels yourself, and see how often each is wrong; ahead: judge the "
        "solutions that Math 03 has so far",
    )
    judge.add_argument("action", choices=["audit", "ahead"])
    judge.add_argument("run", metavar="RUN")
    judge.add_argument(
        "--per-tier",
        metavar="N",
        type=int,
        default=5,
        help="how many of each tier and of new labels (default: 5)",
    )
    judge.add_argument("--seed", metavar="N", type=int, default=0, help="draws another sample (default: 0)")


def _judge(arguments: argparse.Namespace) -> None:
    return (_audit if arguments.action == "audit" else _ahead)(arguments)


def _ahead(arguments: argparse.Namespace) -> None:
    from sdg_helpers import notebooks, runs
    from sdg_helpers.completions.types import Limits
    from sdg_helpers.judging import Judge, judge_ahead
    from sdg_helpers.notebooks.values import values_for
    from sdg_helpers.prompts import load_prompt
    from sdg_helpers.runs import history

    known = history.read(runs.existing_run(arguments.run)) or {}
    run, every = runs.open_run(arguments.run, known["profile"]), notebooks.discover()
    track, judging = run.track("math"), notebooks.find("math/04", every, "sdg judge ahead:")
    given = {name: parameter.value for name, parameter in judging.parameters.items()}
    overrides = known["sessions"][-1]["overrides"].items() if known["sessions"] else ()
    own = [(name, text) for name, text in overrides if name.upper().replace("-", "_") in given]
    given |= values_for([judging], every, run.profile, own)[judging.key]
    counts = judge_ahead(
        track.stage("solutions"),
        track.problems / "problems.jsonl",
        judge=Judge(
            partial(run.server, "judge"),
            run.model("judge"),
            load_prompt(given["PROMPT"]),
            Limits(given["CONCURRENCY"], timeout_s=given["TIMEOUT_S"]),
            given["MAX_TOKENS"],
        ),
        tiers=given["TIERS"],
        reasoning=given["REASONING"],
        judge_by_form=given["JUDGE_BY_FORM"],
        max_failed_fraction=given["MAX_FAILED_FRACTION"],
        jobs=run.jobs("judge"),
    )
    total = max(1, counts.total())
    shares = (f"{counts[name]:,} {name} ({counts[name] / total:.1%})" for name in ("right", "wrong", "undecided"))
    print(f"{counts.total():,} solutions: {', '.join(shares)}.")
    print("Math 04 takes these verdicts over, and asks for none of them again.")


def _audit(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.audit import check_sample, summarize
    from sdg_helpers.audit.verdicts import FILE, cohens_kappa

    run = runs.existing_run(arguments.run)
    check_sample(run, arguments.per_tier, arguments.seed)
    rows = summarize(run)
    print_table([list(rows[0]), *([str(value) for value in row.values()] for row in rows)] if rows else [])
    kappa = cohens_kappa(run / FILE)
    if kappa is not None:
        print(f"Agreement with the verdicts beyond chance (Cohen's kappa): {kappa:.2f}")
    if rows:
        print(
            "To use your decisions on verdicts, run `sdg reset RUN judged`, on labels `sdg reset RUN relabeled`, then "
            "`sdg run` again. No reply is asked for twice."
        )
