"""Reject parameters that papermill injected into a notebook that does not declare them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from sdg_helpers.errors import SdgError, did_you_mean


def reject_unknown_parameters() -> None:
    """In a notebook: raise SdgError when papermill injected a parameter that the notebook does not declare.

    Papermill itself only prints a warning, which is easy to miss, and then runs with the default.
    """
    known: set[str] = set()
    for source in _executed_cells():
        names = list(_assigned_names(source))
        for name in names if source.startswith("# Parameters\n") else ():
            if name not in known:
                declared = sorted(variable for variable in known if variable.isupper())
                raise SdgError(
                    f"this notebook has no parameter {name}.{did_you_mean(name, declared)} "
                    f"Its parameters: {', '.join(declared)}."
                )
        known.update(names)


def _executed_cells() -> list[str]:
    """Return the sources of the cells that this kernel has run so far; [] outside a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return list(shell.user_ns.get("In", ())) if shell else []


def _assigned_names(source: str) -> Iterator[str]:
    """Yield the names that a cell's top-level statements assign."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell with %magics
        return
    for statement in body:
        for target in getattr(statement, "targets", [getattr(statement, "target", None)]):
            if isinstance(target, ast.Name):
                yield target.id
