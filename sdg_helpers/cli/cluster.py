"""`sdg cluster check`."""
from __future__ import annotations

import argparse

from ..errors import SdgError
from . import Add


def add_commands(add: Add) -> None:
    """cluster"""
    check = add("cluster", _check, "see whether a cluster has all that a profile asks for")
    check.add_argument("action", choices=["check"])
    check.add_argument("--profile", metavar="P", default="slurm")
    check.add_argument("--wait", metavar="MINUTES", type=float, default=10.0,
                       help="how long the small jobs that look at a node may wait to begin (default: 10)")


def _check(arguments: argparse.Namespace) -> int:
    from ..cluster_check import check_cluster
    from ..profiles import load_profile

    rows = check_cluster(load_profile(arguments.profile), arguments.wait)
    for row in rows:
        print(f"  {row['ok']:<4}{row['what']}\n      {row['found']}")
        if row["what to do"]:
            print(f"      → {row['what to do']}")
    bad = sum(row["ok"] == "no" for row in rows)
    if bad:
        raise SdgError(f"{bad} of {len(rows)} checks are not met; nothing else was submitted.")
    print(f"All {len(rows)} checks are met.")
    return 0
