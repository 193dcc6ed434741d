"""`sdg judge audit`: look at decisions and new labels yourself, and see how often each kind is wrong."""

from __future__ import annotations

import argparse

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import print_table


def add_commands(add: Add) -> None:
    """Add judge."""
    judge = add("judge", _audit, "check a sample of verdicts and new labels yourself, and see how often each is wrong")
    judge.add_argument("action", choices=["audit"])
    judge.add_argument("run", metavar="RUN")
    judge.add_argument(
        "--per-tier",
        metavar="N",
        type=int,
        default=5,
        help="how many of each tier and of new labels (default: 5)",
    )
    judge.add_argument("--seed", metavar="N", type=int, default=0, help="draws another sample (default: 0)")


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
