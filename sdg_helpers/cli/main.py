"""The command `sdg`. Every command imports what it needs when it runs, so that `sdg --help` answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from sdg_helpers import __version__
from sdg_helpers.errors import SdgError

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
Add = Callable[..., argparse.ArgumentParser]  # (name, function, what it does) -> the command's own parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 a notebook failed, 2 bad input, 130 stopped."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments) or 0
    except SdgError as error:
        if arguments.debug:
            raise
        print(f"sdg: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as stopped:
        print(f"sdg: stopped ({str(stopped) or 'Ctrl-C'}).", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `sdg status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if arguments.debug or error.filename is None:  # of no file: not the user's to mend
            raise
        print(
            f"sdg: {error.filename}: expected a place that can be read and written, found: {error.strerror}. Give "
            "another one (SDG_OUTPUTS, or the path on the command line), or mend it, then run again.",
            file=sys.stderr,
        )
        return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    from sdg_helpers.cli import init, run, run_folders, tools

    parser = argparse.ArgumentParser(
        prog="sdg", description="Open Reasoning Cookbook: from hard problems to reasoning data for fine-tuning."
    )
    parser.add_argument("--version", action="version", version=f"sdg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(command=function)
        return command

    for module in (init, run, run_folders, tools):
        module.add_commands(add)
    return parser
