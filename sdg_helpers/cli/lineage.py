"""`sdg why` and `sdg replay`: where an exported row comes from, and the same request again."""

from __future__ import annotations

import argparse

from sdg_helpers.cli.commands import Add
from sdg_helpers.errors import SdgError


def add_commands(add: Add) -> None:
    """Add why and replay."""
    why = add("why", _why, "trace an exported row back to its problem, request, reply, verdict and votes")
    why.add_argument("run", metavar="RUN")
    why.add_argument("row", metavar="ROW", help="number of a row in the SFT file, from 1; with SEED, a problem's id")
    why.add_argument("seed", nargs="?", type=int, metavar="SEED", help="which of the problem's solutions")
    again = add("replay", _replay, "send the request of a solution again, and show both replies")
    again.add_argument("run", metavar="RUN")
    again.add_argument("id", metavar="ID", help="the problem's id")
    again.add_argument("seed", type=int, metavar="SEED", help="which of its solutions")
    again.add_argument("--profile", metavar="P", help="ask this profile's solver (default: the run's own profile)")
    for command in (why, again):
        command.add_argument("--track", default="math", choices=["math", "science", "code"], help="default: math")
        command.add_argument(
            "--limit", type=int, default=1500, metavar="N", help="characters shown of a long text (default: 1500)"
        )


def _why(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.lineage import explain_row

    if arguments.seed is None and not arguments.row.isdecimal():
        raise SdgError(
            f"{arguments.row!r} is not the number of a row. For a solution that is not exported, give its seed too: "
            f"sdg why {arguments.run} {arguments.row} 0"
        )
    track = runs.Track(runs.existing_run(arguments.run) / arguments.track, arguments.track)
    print(explain_row(track, arguments.row, arguments.seed, arguments.limit), end="")


def _replay(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.formatting import plain_text
    from sdg_helpers.lineage import replay
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history

    folder = runs.existing_run(arguments.run)
    content = history.read(folder) or {}
    run = runs.Run(arguments.run, folder, load_profile(arguments.profile or content["profile"]))
    replayed = replay(run, arguments.track, arguments.id, arguments.seed)
    old, new = replayed.before, replayed.reply
    for title, text, tokens, finish in (
        ("Kept", old.text, old.solution.tokens, old.solution.finish_reason),
        ("Again", replayed.text, new.completion_tokens, new.finish_reason),
    ):
        print(f"{title} ({tokens:,} tokens, {plain_text(finish, 64)})\n{plain_text(text, arguments.limit)}\n")
    place = replayed.same_until
    same = "Both replies are the same." if place is None else f"The replies differ from character {place + 1:,} on."
    print("\n".join([same, *(f"Note: {note}." for note in replayed.notes)]))
