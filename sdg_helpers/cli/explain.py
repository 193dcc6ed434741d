"""`sdg notebooks`, `params`: what can be run, and with which parameters."""
from __future__ import annotations

import argparse

from . import Add
from .console import print_table, shown


def add_commands(add: Add) -> None:
    """notebooks, params"""
    add("notebooks", _notebooks, "list the notebooks and what they make")
    params = add("params", _params, "explain the parameters of a notebook")
    params.add_argument("notebook", metavar="NOTEBOOK", help="math/03, or math/03_generate_solutions")


def _notebooks(arguments: argparse.Namespace) -> None:
    from .. import notebooks

    print_table([[one.key, ", ".join(info.name for info in one.stages)] for one in notebooks.discover()])


def _params(arguments: argparse.Namespace) -> None:
    from .. import notebooks

    notebook = notebooks.find(arguments.notebook, notebooks.discover())
    print(f"Parameters of {notebook.key} ({shown(notebook.path)})")
    print_table([[one.name, one.default, one.help] for one in notebook.parameters.values()])
