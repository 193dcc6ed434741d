"""How `sdg run` ends before its work is done: what happened, and the command that goes on."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING

from sdg_helpers.cli.commands import BUDGET_SPENT, FAILED, INTERRUPTED
from sdg_helpers.cli.console import program_name

if TYPE_CHECKING:
    from sdg_helpers.notebooks.failures import NotebookFailed
    from sdg_helpers.runs.run import Run


def words_of(arguments: argparse.Namespace, name: str) -> list[str]:
    """The words after `sdg run` that repeat this command."""
    words = [*arguments.tracks, *(["--profile", arguments.profile] if arguments.profile else []), "--run", name]
    for flag, value in (("--from", arguments.first), ("--to", arguments.last)):
        words += [flag, value] if value else []
    for override in arguments.overrides:
        words += ["-p", *override]
    return words


def report_stop(error: BaseException, arguments: argparse.Namespace, name: str) -> int:
    """Print what happened and the exact command that resumes the run; return the exit code."""
    interrupted = isinstance(error, KeyboardInterrupt)
    message = f"stopped ({str(error) or 'Ctrl-C'})." if interrupted else error
    how = "Resume with" if interrupted else "Fix the cause, then resume with"
    command = f"{program_name()} run {shlex.join(words_of(arguments, name))}"
    print(f"sdg: {message}\nFinished work is kept. {how}: {command}", file=sys.stderr)
    return INTERRUPTED if interrupted else FAILED


def report_budget(run: Run, error: NotebookFailed, arguments: argparse.Namespace, name: str) -> int:
    """Print what is spent, what is left to do, and how to go on; return the exit code."""
    from sdg_helpers.budgets.reports import rest_of
    from sdg_helpers.runs.status import run_status

    unfinished = [stage for stage in run_status(run.folder) if stage.state == "partial"]
    rest, enough = rest_of(run.folder, unfinished[-1]) if unfinished else ("", "")
    command = f"{program_name()} run {shlex.join([*words_of(arguments, name), '--budget', enough or 'MORE'])}"
    print(
        f"sdg: stopped: {error.error.partition(': ')[2]}\n{rest}\nFinished work is kept. Go on with a larger budget "
        f"(or none): {command}".replace("\n\n", "\n"),
        file=sys.stderr,
    )
    return BUDGET_SPENT
