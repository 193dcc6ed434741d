"""`sdg run`: which notebooks to execute, with which parameters, in which run; and how to resume when it stops."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import display_path, program_name
from sdg_helpers.cli.resuming import report_budget, report_stop, words_of
from sdg_helpers.cli.tools import fetch_weights
from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    from sdg_helpers.budgets.budget import Budget
    from sdg_helpers.notebooks.discovery import Notebook
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
    run.add_argument(
        "--dry-run", action="store_true", help="only show which notebooks would run, and with which parameters"
    )
    how_much = run.add_mutually_exclusive_group()
    how_much.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    how_much.add_argument("-v", "--verbose", action="store_true", help="also print what the notebooks' cells print")
    run.add_argument("--again", action="store_true", help="also execute complete notebooks (finished work is reused)")


def _run(arguments: argparse.Namespace) -> int:
    from sdg_helpers import notebooks
    from sdg_helpers.budgets.budget import set_budget
    from sdg_helpers.notebooks import chain
    from sdg_helpers.notebooks.failures import NotebookFailed
    from sdg_helpers.notebooks.values import values_for
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history
    from sdg_helpers.runs.run import Run, run_folder
    from sdg_helpers.watching.monitor import Monitor

    every = notebooks.discover()
    profile = load_profile(arguments.profile or _profile_of(arguments.run))
    selected = _select_notebooks(arguments)
    values = values_for(selected, every, profile, arguments.overrides)
    name = arguments.run or re.sub(r"[^A-Za-z0-9._-]", "-", profile.path.stem)
    run = Run(name, run_folder(name), profile)
    budget = _read_budget(run, arguments.budget)
    if arguments.dry_run:
        return _show_plan(run, selected, values, arguments.again)
    history.add_session(run.folder, profile, {key: value for key, value in arguments.overrides})
    set_budget(run.folder, budget)
    if arguments.submit:
        return _submit(run, arguments, name)
    if not arguments.quiet:
        print(f"run {name}, profile {profile.key}: {display_path(run.folder)}", flush=True)
    if any(_will_ask(run, notebook, values[notebook.key], arguments.again) for notebook in selected):
        fetch_weights([spec.model for spec in profile.specs if spec.engine == "embedded"])
    try:
        with Monitor(run.folder, profile), open(os.devnull, "w") if arguments.quiet else nullcontext(sys.stdout) as out:
            chain.run_notebooks(run, selected, values, out, arguments.again, verbose=arguments.verbose)
    except (NotebookFailed, KeyboardInterrupt) as error:
        if arguments.debug:
            raise
        if isinstance(error, NotebookFailed) and error.budget_spent:
            return report_budget(run, error, arguments, name)
        return report_stop(error, arguments, name)
    executed = display_path(run.folder / "notebooks")
    if not arguments.quiet:
        print(f"Complete. Executed notebooks: {executed}   Status: {program_name()} status {name}")
    return 0


def _will_ask(run: Run, notebook: Notebook, values: Mapping[str, Any], again: bool) -> bool:
    """Return whether a notebook is to be executed and may ask a model."""
    from sdg_helpers.notebooks import chain

    return notebook.asks_a_model and (again or not chain.is_complete(run, notebook, values))


def _show_plan(run: Run, selected: list[Notebook], values: Mapping[str, Mapping[str, Any]], again: bool) -> int:
    """Print what the command would do; nothing is written."""
    from sdg_helpers.notebooks import chain

    print(f"run {run.name}, profile {run.profile.key}: {display_path(run.folder)}")
    for notebook in selected:
        done = not again and chain.is_complete(run, notebook, values[notebook.key])
        given = ", ".join(f"{key} = {value!r}" for key, value in values[notebook.key].items())
        print(
            f"{notebook.key}: " + ("complete, nothing to do" if done else f"to run{' with ' + given if given else ''}")
        )
    return 0


def _profile_of(name: str | None) -> str:
    """The profile that an existing run was started with, else demo."""
    from sdg_helpers import runs
    from sdg_helpers.runs import history

    content = history.read(runs.run_folder(name)) if name else None
    return content["profile"] if content else "demo"


def _submit(run: Run, arguments: argparse.Namespace, name: str) -> int:
    from sdg_helpers.cli.driver_job import submit_driver

    arguments.profile = run.profile.key  # the job starts in another folder
    words = ["run", *words_of(arguments, name), *(["--again"] if arguments.again else [])]
    job_id, log = submit_driver(run.folder, run.profile.jobs.spec("driver"), words)
    print(
        f"Submitted as job {job_id}; log: {display_path(log)}   Status: {program_name()} status {name}   "
        f"Cancel: {program_name()} cancel {name}"
    )
    return 0


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
