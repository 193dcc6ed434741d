"""The command `sdg`. Each command imports what it needs only when it runs, so that `sdg --help` is instant."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from sdg_helpers import __version__
from sdg_helpers.cli.commands import BAD_INPUT, INTERRUPTED
from sdg_helpers.cli.parsing import START, Parser
from sdg_helpers.errors import SdgError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0, 1 for a failed notebook, 2 for bad input, 3 when the budget is spent, 130 when interrupted.
    """
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks for the words that may follow
        from sdg_helpers.cli.completion import complete_words

        complete_words(parser)
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        print(START)
        return 0
    try:
        return arguments.command(arguments) or 0
    except SdgError as error:
        if arguments.debug:
            raise
        print(f"sdg: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as interrupt:
        print(f"sdg: stopped ({str(interrupt) or 'Ctrl-C'}).", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `sdg status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if arguments.debug or error.filename is None:  # not about a file: a bug, not a bad path
            raise
        print(
            f"sdg: cannot read or write {error.filename}: {error.strerror}. Fix the path, or give another one "
            "(SDG_OUTPUTS, or on the command line), then run again.",
            file=sys.stderr,
        )
        return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    from sdg_helpers.cli import (
        audit,
        browse,
        fork,
        init,
        lab,
        lineage,
        notebooks,
        own_job,
        planning,
        repair,
        report,
        run,
        run_folders,
        tools,
        watch,
    )

    parser = Parser(
        prog="sdg", description="Open Reasoning Cookbook: from hard problems to reasoning data for fine-tuning."
    )
    parser.add_argument("--version", action="version", version=f"sdg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(metavar="COMMAND")

    def add(name: str, function: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(command=function)
        return command

    for module in (
        init,
        planning,
        run,
        run_folders,
        watch,
        own_job,
        report,
        browse,
        lab,
        lineage,
        fork,
        repair,
        notebooks,
        tools,
        audit,
    ):
        module.add_commands(add)
    return parser
