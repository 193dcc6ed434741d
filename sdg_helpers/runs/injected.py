"""Reject parameters that papermill injected into a notebook that does not declare them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from sdg_helpers.errors import SdgError, did_you_mean


def reject_unknown_parameters() -> None:
    """In a notebook: raise SdgError when papermill was given a parameter that the notebook does not have.

    Papermill alone warns, on a terminal that nobody watches, and then runs with the default.
    """
    known: set[str] = set()
    for source in _cells_run():
        names = list(_assigned(source))
        for name in names if source.startswith("# Parameters\n") else ():
            if name not in known:
                own = sorted(one for one in known if one.isupper())
                raise SdgError(
                    f"parameter {name}: this notebook does not have it.{did_you_mean(name, own)} "
                    f"Its parameters: {', '.join(own)}."
                )
        known.update(names)


def _cells_run() -> list[str]:
    """Sources of the cells that this kernel has run so far; empty outside a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return list(shell.user_ns.get("In", ())) if shell else []


def _assigned(source: str) -> Iterator[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell with %magics
        return
    for statement in body:
        for target in getattr(statement, "targets", [getattr(statement, "target", None)]):
            if isinstance(target, ast.Name):
                yield target.id
