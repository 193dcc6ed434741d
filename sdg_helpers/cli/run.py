"""`sdg run`: which notebooks to execute, with which parameters, in which run; and how to resume when it stops."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from typing import TYPE_CHECKING

from sdg_helpers.cli.console import display_path, program_name
from sdg_helpers.cli.main import BUDGET_SPENT, FAILED, INTERRUPTED, Add
from sdg_helpers.cli.tools import fetch_weights
from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    from sdg_helpers.budgets.budget import Budget
    from sdg_helpers.notebooks.discovery import Notebook
    from sdg_helpers.notebooks.execution import NotebookFailed
    from sdg_helpers.runs.run import Run


def add_commands(add: Add) -> None:
    """Add run."""
    run = add("run", _run, "execute notebooks in order, resuming where the run stopped")
    run.add_argument("tracks", nargs="*", metavar="TRACK", help="start, math, science, code (default: start math)")
    run.add_argument(
        "--profile",
        metavar="P",
        help="where to run: a name or a .yaml file (default: the run's own profile, or demo for a new run)",
    )
    run.add_argument("--run", metavar="NAME", help="name of its folder in outputs/ (default: the profile's name)")
    run.add_argument("--from", dest="first", metavar="03", help="first notebook to execute")
    run.add_argument("--to", dest="last", metavar="06", help="last notebook to execute")
    run.add_argument(
        "-p",
        dest="overrides",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="override a parameter in every selected notebook that has it; may be repeated",
    )
    run.add_argument(
        "--budget",
        metavar="LIMIT",
        help='stop in time to spend no more over the whole run: "2e9 tokens" (generated), "500 EUR" (with prices in '
        'the profile), "2000 gpu-hours", "8h" at work; it holds until it is set again, or lifted with "none"',
    )
    run.add_argument(
        "--submit",
        action="store_true",
        help="submit the driver itself as a small Slurm job, so that you can log out",
    )
    run.add_argument("--again", action="store_true", help="also execute complete notebooks (finished work is reused)")


def _run(arguments: argparse.Namespace) -> int:
    from sdg_helpers import notebooks
    from sdg_helpers.budgets.budget import set_budget
    from sdg_helpers.notebooks import chain
    from sdg_helpers.notebooks.execution import NotebookFailed
    from sdg_helpers.notebooks.values import values_for
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history
    from sdg_helpers.runs.run import Run, run_folder

    every = notebooks.discover()
    profile = load_profile(arguments.profile or _profile_of(arguments.run))
    selected = _select_notebooks(arguments)
    values = values_for(selected, every, profile, arguments.overrides)
    name = arguments.run or re.sub(r"[^A-Za-z0-9._-]", "-", profile.path.stem)
    run = Run(name, run_folder(name), profile)
    budget = _read_budget(run, arguments.budget)
    history.add_session(run.folder, profile, {key: value for key, value in arguments.overrides})
    set_budget(run.folder, budget)
    if arguments.submit:
        return _submit(run, arguments, name)
    print(f"run {name}, profile {profile.key}: {display_path(run.folder)}", flush=True)
    if any(notebook.asks_a_model for notebook in selected):
        fetch_weights([spec.model for spec in profile.specs if spec.engine == "embedded"])
    try:
        chain.run_notebooks(run, selected, values, sys.stdout, arguments.again)
    except (NotebookFailed, KeyboardInterrupt) as error:
        if arguments.debug:
            raise
        if isinstance(error, NotebookFailed) and error.budget_spent:
            return _report_budget(run, error, arguments, name)
        return _report_stop(error, arguments, name)
    executed = display_path(run.folder / "notebooks")
    print(f"Complete. Executed notebooks: {executed}   Status: {program_name()} status {name}")
    return 0


def _profile_of(name: str | None) -> str:
    """The profile that an existing run was started with, else demo."""
    from sdg_helpers import runs
    from sdg_helpers.runs import history

    content = history.read(runs.run_folder(name)) if name else None
    return content["profile"] if content else "demo"


def _submit(run: Run, arguments: argparse.Namespace, name: str) -> int:
    from sdg_helpers.notebooks.submitting import submit_driver

    arguments.profile = run.profile.key  # the job starts in another folder
    words = ["run", *_words(arguments, name), *(["--again"] if arguments.again else [])]
    job_id, log = submit_driver(run.folder, run.profile.jobs.spec("driver"), words)
    print(
        f"Submitted as job {job_id}; log: {display_path(log)}   Status: {program_name()} status {name}   "
        f"Cancel: {program_name()} cancel {name}"
    )
    return 0


def _words(arguments: argparse.Namespace, name: str) -> list[str]:
    """The words after `sdg run` that repeat this command."""
    words = [*arguments.tracks, *(["--profile", arguments.profile] if arguments.profile else []), "--run", name]
    for flag, value in (("--from", arguments.first), ("--to", arguments.last)):
        words += [flag, value] if value else []
    for override in arguments.overrides:
        words += ["-p", *override]
    return words


def _report_stop(error: BaseException, arguments: argparse.Namespace, name: str) -> int:
    """Print what happened and the exact command that resumes the run; return the exit code."""
    interrupted = isinstance(error, KeyboardInterrupt)
    message = f"stopped ({str(error) or 'Ctrl-C'})." if interrupted else error
    how = "Resume with" if interrupted else "Fix the cause, then resume with"
    command = f"{program_name()} run {shlex.join(_words(arguments, name))}"
    print(f"sdg: {message}\nFinished work is kept. {how}: {command}", file=sys.stderr)
    return INTERRUPTED if interrupted else FAILED


def _read_budget(run: Run, text: str | None) -> Budget | None:
    """Return the budget that is given, else the one that holds; both must fit the profile."""
    from sdg_helpers.budgets.budget import read_budget
    from sdg_helpers.budgets.reports import check_budget, check_unit

    if text is not None:
        return None if text.lower() == "none" else check_budget(text, run.folder, run.profile)
    if not (run.folder / "run.yaml").exists():
        return None
    if budget := read_budget(run.folder):
        check_unit(budget, run.profile)
    return budget


def _report_budget(run: Run, error: NotebookFailed, arguments: argparse.Namespace, name: str) -> int:
    """Print what is spent, what is left to do, and how to go on; return the exit code."""
    from sdg_helpers.budgets.reports import rest_of
    from sdg_helpers.runs.status import run_status

    unfinished = [stage for stage in run_status(run.folder) if stage.state == "partial"]
    rest, enough = rest_of(run.folder, unfinished[-1]) if unfinished else ("", "")
    command = f"{program_name()} run {shlex.join([*_words(arguments, name), '--budget', enough or 'MORE'])}"
    print(
        f"sdg: stopped: {error.error.partition(': ')[2]}\n{rest}\nFinished work is kept. Go on with a larger budget "
        f"(or none): {command}".replace("\n\n", "\n"),
        file=sys.stderr,
    )
    return BUDGET_SPENT


def _select_notebooks(arguments: argparse.Namespace) -> list[Notebook]:
    from sdg_helpers import notebooks

    found = [one for track in arguments.tracks or ["start", "math"] for one in notebooks.discover(track)]
    first, last = _number("--from", arguments.first, found, "00"), _number("--to", arguments.last, found, "99")
    selected = [one for one in found if first <= one.number <= last]
    if not selected:
        raise SdgError(
            f"--from {first} --to {last} selects no notebook. Notebooks: {', '.join(one.key for one in found)}."
        )
    return selected


def _number(flag: str, text: str | None, found: list[Notebook], default: str) -> str:
    """The two-digit number of the notebook that --from or --to names."""
    from sdg_helpers import notebooks

    if text is None:
        return default
    if text.isdigit() and f"{int(text):02d}" in {one.number for one in found}:
        return f"{int(text):02d}"
    return notebooks.find(text, found, flag).number
