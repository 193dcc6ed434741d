"""`sdg fork`: begin another run from the finished stages of one, to change a parameter and compare."""

from __future__ import annotations

import argparse

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import program_name
from sdg_helpers.errors import SdgError


def add_commands(add: Add) -> None:
    """Add fork."""
    fork = add("fork", _fork, "begin another run from the finished stages of one; their files are shared, not copied")
    fork.add_argument("run", metavar="RUN")
    fork.add_argument("new", metavar="NEW", help="name of the new run")
    fork.add_argument(
        "--from",
        dest="first",
        metavar="05",
        required=True,
        help="first notebook that the new run executes itself: 05, or code/04 where the run has several tracks",
    )


def _fork(arguments: argparse.Namespace) -> None:
    from sdg_helpers import notebooks, runs
    from sdg_helpers.runs.fork import fork_run

    origin = runs.existing_run(arguments.run)
    track, _, number = arguments.first.rpartition("/")
    track = track or _only_track(arguments.run, [name for name in runs.STAGES if (origin / name).is_dir()])
    first = notebooks.find(f"{int(number):02d}" if number.isdigit() else number, notebooks.discover(track), "--from")
    fork = fork_run(origin, runs.run_folder(arguments.new), track, first.number)
    print(
        f"Run {arguments.new}: {', '.join(fork.stages)} of run {arguments.run} ({fork.shared / 1e6:,.1f} MB shared, "
        f"{fork.copied / 1e6:,.1f} MB copied).\n"
        f"Next: {program_name()} run {track} --run {arguments.new} --from {first.number} -p PARAMETER VALUE"
    )


def _only_track(run: str, begun: list[str]) -> str:
    if len(begun) != 1:
        found = f"has {', '.join(begun)}" if begun else "has begun no track"
        raise SdgError(f"run {run!r} {found}: say which track to fork, as in --from math/05.")
    return begun[0]
