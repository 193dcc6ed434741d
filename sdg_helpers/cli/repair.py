"""`sdg verify` and `sdg repair`: find files that have changed since their stage wrote them, and make them again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdg_helpers.cli.commands import FAILED, Add
from sdg_helpers.cli.console import print_table, program_name

if TYPE_CHECKING:
    from sdg_helpers.notebooks.discovery import Notebook
    from sdg_helpers.profiles import Profile
    from sdg_helpers.runs.repair import SetBack


def add_commands(add: Add) -> None:
    """Add verify and repair."""
    verify = add("verify", _verify, "read every file of a run's finished stages and compare it with what was written")
    verify.add_argument("run", metavar="RUN")
    repair = add("repair", _repair, "make what is damaged in a run again, and only that")
    repair.add_argument("run", metavar="RUN")


def _verify(arguments: argparse.Namespace) -> int:
    from sdg_helpers import runs
    from sdg_helpers.runs.verify import verify_run

    found = list(verify_run(runs.existing_run(arguments.run)))
    rows = [["stage", "files", "MB", ""]]
    for one in found:
        rows.append([one.name, str(one.files), f"{one.bytes / 1e6:,.1f}", "; ".join(one.problems) or "intact"])
    print_table(rows if found else [["no stage has begun"]])
    if not any(one.problems for one in found):
        return 0
    print(f"Make what is damaged again: {program_name()} repair {arguments.run}")
    return FAILED


def _repair(arguments: argparse.Namespace) -> int:
    from sdg_helpers import notebooks, runs
    from sdg_helpers.locks import Lock
    from sdg_helpers.notebooks import chain
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history, repair
    from sdg_helpers.runs.run import Run

    folder = runs.existing_run(arguments.run)
    content = history.read(folder) or {}
    profile = load_profile(content["profile"])
    with Lock(folder / ".lock", f"run {arguments.run!r}"):
        found = list(repair.set_back_damaged(folder))
        keys = repair.notebooks_to_run(folder, found)
    for one in found:
        print(_describe(one))
    every = notebooks.discover()
    selected = [notebook for notebook in every if notebook.key in keys]
    if not selected:
        print(f"Nothing is damaged. What is unfinished: {program_name()} status {arguments.run}")
        return 0
    values = _values(folder, selected, every, profile, content)

    def before_each(notebook: Notebook) -> None:
        for name in repair.drop_outdated(folder, notebook.track, notebook.stages):
            print(f"{name}: its inputs are different now, so it is made again")

    try:
        chain.run_notebooks(Run(folder.name, folder, profile), selected, values, sys.stdout, before_each=before_each)
    except chain.NotebookFailed as error:
        tracks = " ".join(dict.fromkeys(notebook.track for notebook in selected))
        command = f"{program_name()} run {tracks} --run {arguments.run}"
        print(f"sdg: {error}\nFinished work is kept. Fix the cause, then resume with: {command}", file=sys.stderr)
        return FAILED
    print(f"Repaired. Status: {program_name()} status {arguments.run}")
    return 0


def _describe(one: SetBack) -> str:
    rows = f" {one.kept:,} rows are intact, {one.lost:,} are made again." if one.kept or one.lost else ""
    return f"{one.track}/{one.info.name}: {'; '.join(f'{each.name} {each.what}' for each in one.damages)}.{rows}"


def _values(
    folder: Path, selected: list[Notebook], every: list[Notebook], profile: Profile, content: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The parameters with which each notebook was executed last; else the profile's and the last session's."""
    from sdg_helpers.notebooks.values import values_for
    from sdg_helpers.runs.executed import read_record

    overrides = content["sessions"][-1].get("overrides") or {} if content["sessions"] else {}
    values = {}
    for notebook in selected:
        known = read_record(folder / "notebooks" / f"{notebook.key}.json").get("parameters")
        if isinstance(known, dict):
            values[notebook.key] = {name: value for name, value in known.items() if name not in ("RUN", "PROFILE")}
        else:
            declared = [
                (name, str(value))
                for name, value in overrides.items()
                if name.replace("-", "_").upper() in notebook.parameters
            ]
            values |= values_for([notebook], every, profile, declared)
    return values
