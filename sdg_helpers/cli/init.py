"""`sdg init`: a workspace with the notebooks, for an installation without a clone."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from sdg_helpers.cli.console import display_path, program
from sdg_helpers.cli.main import Add


def add_commands(add: Add) -> None:
    """init"""
    init = add("init", _init, "create a workspace: a folder with the notebooks, profiles and prompts to work with")
    init.add_argument(
        "folder",
        metavar="FOLDER",
        help="a new folder, or a workspace to update to this version (edited files are kept)",
    )


def _init(arguments: argparse.Namespace) -> None:
    from sdg_helpers.workspace import create_workspace

    folder = Path(arguments.folder).expanduser()
    copied = create_workspace(folder)
    changes = {"added": copied.added, "updated": copied.updated, "unchanged": copied.unchanged}
    counts = ", ".join(f"{len(names)} {what}" for what, names in changes.items() if names)
    print(f"Workspace {display_path(folder)}: {counts or 'nothing to copy'}.")
    for name in copied.kept:
        print(f"  kept {name}: you edited it")
    change = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(display_path(folder))} && "
    print(f"Next: {change}{program()} run math --profile demo")
