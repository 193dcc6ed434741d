"""`sdg notebooks` and `sdg params`: which notebooks there are, and what can be set in them."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from typing import TYPE_CHECKING

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import display_path, print_json, print_table

if TYPE_CHECKING:
    from sdg_helpers.notebooks.discovery import Notebook
    from sdg_helpers.notebooks.parameters import Parameter

_INDENT = " " * 6
_WIDEST = 100  # columns of running text


def add_commands(add: Add) -> None:
    """Add notebooks and params."""
    listing = add("notebooks", _notebooks, "list the notebooks and the stages they make")
    params = add("params", _params, "explain the parameters of a notebook, or of all notebooks of a track")
    params.add_argument("notebook", metavar="NOTEBOOK", help="math, math/03, or math/03_generate_solutions")
    for command in (listing, params):
        command.add_argument("--json", action="store_true", help="print JSON")


def _notebooks(arguments: argparse.Namespace) -> None:
    from sdg_helpers import notebooks

    rows = {one.key: [info.name for info in one.stages] for one in notebooks.discover()}
    if arguments.json:
        print_json(rows)
    else:
        print_table([[key, ", ".join(stages)] for key, stages in rows.items()])


def _params(arguments: argparse.Namespace) -> None:
    selected = _select(arguments.notebook)
    if arguments.json:
        print_json(
            {
                notebook.key: {one.name: {"default": one.default, "help": one.help} for one in _parameters(notebook)}
                for notebook in selected
            }
        )
        return
    for number, notebook in enumerate(selected):
        print("\n" * bool(number) + f"{notebook.key}  ({display_path(notebook.path)})")
        for one in _parameters(notebook):
            print(f"  {one.name} = {one.default}")
            print(textwrap.fill(one.help, _width(), initial_indent=_INDENT, subsequent_indent=_INDENT))


def _parameters(notebook: Notebook) -> list[Parameter]:
    """The parameters of a notebook, without those that every notebook has and `sdg run` sets."""
    return [one for one in notebook.parameters.values() if one.name not in ("RUN", "PROFILE")]


def _select(text: str) -> list[Notebook]:
    """The notebooks of a track, or the one that `text` names."""
    from sdg_helpers import notebooks

    every = notebooks.discover()
    of_track = [one for one in every if one.track == text.lower()]
    return of_track or [notebooks.find(text, every)]


def _width() -> int:
    return min(_WIDEST, shutil.get_terminal_size().columns)
