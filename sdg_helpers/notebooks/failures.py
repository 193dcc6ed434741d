"""What a notebook's failure was: in which cell and line, why, and where its executed copy is."""

from __future__ import annotations

import re
from pathlib import Path

from sdg_helpers.budgets.budget import BudgetSpent
from sdg_helpers.errors import SdgError
from sdg_helpers.notebooks.discovery import Notebook

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class NotebookFailed(SdgError):
    """A notebook failed: in which cell (numbered as in JupyterLab), why, and where its executed copy is."""

    budget_spent = False  # whether it only stopped because the run's budget is spent

    def __init__(self, notebook: Notebook, executed: Path, cell: str, error: str, traceback: str = ""):
        details = f"{traceback}\n{error}" if traceback else error
        super().__init__(f"{notebook.key} failed in {cell}\n{_indent(details)}\nExecuted notebook: {executed}")
        self.cell, self.error = cell, error


def explain_failure(notebook: Notebook, executed: Path, cell: str, error: Exception, log: Path) -> NotebookFailed:
    """Describe what papermill raised; `cell` says where, for a failure that is not an exception in a cell."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        cell = f"cell [{error.exec_count}], {_failing_line(error.source, error.exec_count, error.traceback)}"
        message = without_colours(f"{error.ename}: {error.evalue}")
        traceback = "" if error.ename in sdg_error_names() else _traceback_tail(error.traceback, message)
        failure = NotebookFailed(notebook, executed, cell, message, traceback)
        failure.budget_spent = error.ename == BudgetSpent.__name__
        return failure
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, DeadKernelError) or "Kernel died" in str(error):
        message = f"the kernel died: it ran out of memory, or something killed it. Kernel log: {log}"
    return NotebookFailed(notebook, executed, cell, message)


def _failing_line(source: str, exec_count: int, traceback: list[str]) -> str:
    """Return the line at which the cell failed, as "line 7: track.require(…)"; its first line if that is unknown."""
    lines = source.splitlines()
    found = re.search(rf"Cell In\s?\[{exec_count}\], line (\d+)", without_colours("\n".join(traceback)))
    number = int(found[1]) if found and int(found[1]) <= len(lines) else 1
    return f"line {number}: {lines[number - 1].strip()[:100]}"


def sdg_error_names(error: type[SdgError] = SdgError) -> set[str]:
    """Return the names of SdgError and all its subclasses: their messages are self-contained, so omit the traceback."""
    from sdg_helpers import hub, manifests  # noqa: F401
    from sdg_helpers.cluster import exit_codes, slurm  # noqa: F401  (subclasses are known once their module is loaded)
    from sdg_helpers.completions import types  # noqa: F401

    return {error.__name__}.union(*map(sdg_error_names, error.__subclasses__()))


def _traceback_tail(traceback: list[str], message: str, lines: int = 12) -> str:
    """Return the last lines of a traceback, without colours and without the final error message."""
    text = without_colours("\n".join(traceback)).rstrip().removesuffix(message).rstrip()
    return "\n".join([line for line in text.splitlines() if not line.startswith("-" * 20)][-lines:])


def without_colours(text: str) -> str:
    """Return a terminal's text without its control sequences."""
    return _ANSI.sub("", text)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
