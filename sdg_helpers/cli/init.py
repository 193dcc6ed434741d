"""`sdg init`: create a workspace, for an installation without a clone."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import display_path, program_name


def add_commands(add: Add) -> None:
    """Add init."""
    init = add("init", _init, "create a workspace: a folder with the notebooks, profiles and prompts")
    init.add_argument(
        "folder",
        metavar="FOLDER",
        help="a new folder, or a workspace to update to this version of sdg (edited files are kept)",
    )


def _init(arguments: argparse.Namespace) -> None:
    from sdg_helpers.workspace import create_workspace

    folder = Path(arguments.folder).expanduser()
    copied = create_workspace(folder)
    print(
        f"Workspace {display_path(folder)}: {len(copied.added)} files added, {len(copied.updated)} updated, "
        f"{len(copied.unchanged)} unchanged."
    )
    for name in copied.kept:
        print(f"  kept your edited {name}")
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(display_path(folder))} && "
    print(f"Next: {enter}{program_name()} run math --profile demo")
