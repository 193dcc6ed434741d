"""Execute one notebook with papermill, in a kernel of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sdg_helpers import paths
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.notebooks.discovery import Notebook, escaped, quiet
from sdg_helpers.paths import PACKAGE

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class NotebookFailed(SdgError):
    """A notebook stopped: where (cell as JupyterLab numbers it), why, and the executed copy that shows it."""

    def __init__(self, notebook: Notebook, executed: Path, cell: str, error: str, traceback: str = ""):
        shown = f"{traceback}\n{error}" if traceback else error
        super().__init__(f"{notebook.key} stopped in {cell}\n{_indented(shown)}\nThe executed notebook: {executed}")
        self.cell, self.error = cell, error


def execute(
    notebook: Notebook, executed: Path, parameters: Mapping[str, Any], on_cell: Callable[[int, int], None] | None = None
) -> None:
    """Run a notebook from top to bottom in a clean kernel; `executed`, its copy with outputs, grows cell by cell.

    The kernel has this process's environment and packages, and the notebook's folder as its working folder, as in
    JupyterLab. on_cell(cell, cells) is called as each cell begins. Raises SdgError for a parameter that the notebook
    does not have, before anything starts, and NotebookFailed when a cell raises or the kernel dies.
    """
    for name in parameters:
        if name not in notebook.parameters:
            raise SdgError(
                f"{notebook.key}: unknown parameter {name}.{did_you_mean(name, notebook.parameters)} "
                f"Its parameters: {', '.join(notebook.parameters) or 'none'}."
            )
    quiet()
    from papermill.execute import execute_notebook

    executed.parent.mkdir(parents=True, exist_ok=True)
    at = {"cell": 0, "cells": 0}

    def note(cell: int, cells: int) -> None:
        at.update(cell=cell, cells=cells)
        if on_cell:
            on_cell(cell, cells)

    log = executed.with_suffix(".log")
    try:
        with open(log, "wb") as file:
            execute_notebook(
                escaped(notebook.path),
                escaped(executed),
                dict(parameters),
                engine_name=_engine(),
                kernel_name="python3",
                progress_bar=False,
                autosave_cell_every=10,
                start_timeout=120,
                cwd=notebook.path.parent,
                on_cell=note,
                log=file,
            )
    except Exception as error:
        raise _failure(notebook, executed, f"cell {at['cell']} of {at['cells']}", error, log) from error
    log.unlink()


def _failure(notebook: Notebook, executed: Path, cell: str, error: Exception, log: Path) -> NotebookFailed:
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        cell = f"cell [{error.exec_count}], {_failing_line(error.source, error.exec_count, error.traceback)}"
        told = _ANSI.sub("", f"{error.ename}: {error.evalue}")
        traceback = "" if error.ename in _own_errors() else _tail(error.traceback, told)
        return NotebookFailed(notebook, executed, cell, told, traceback)
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, DeadKernelError) or "Kernel died" in str(error):
        told = f"the kernel died: memory may have run out, or something killed it (its log: {log})."
    return NotebookFailed(notebook, executed, cell, told)


def _failing_line(source: str, exec_count: int, traceback: list[str]) -> str:
    """ "line 7: math.require(…)", the line of the cell that the traceback begins with; else the cell's first line."""
    lines = source.splitlines()
    found = re.search(rf"Cell In\s?\[{exec_count}\], line (\d+)", _ANSI.sub("", "\n".join(traceback)))
    number = int(found[1]) if found and int(found[1]) <= len(lines) else 1
    return f"line {number}: {lines[number - 1].strip()[:100]}"


def _own_errors(error: type[SdgError] = SdgError) -> set[str]:
    """The names of SdgError and of all kinds of it: their messages say all, and our internals are no news."""
    from sdg_helpers.cluster import exit_codes, slurm  # noqa: F401  (a class is known once its module is loaded)
    from sdg_helpers.completions import types  # noqa: F401

    return {error.__name__}.union(*map(_own_errors, error.__subclasses__()))


def _tail(traceback: list[str], told: str, lines: int = 12) -> str:
    """The last lines of a traceback, without colours and without the error itself."""
    text = _ANSI.sub("", "\n".join(traceback)).rstrip().removesuffix(told).rstrip()
    return "\n".join([line for line in text.splitlines() if not line.startswith("-" * 20)][-lines:])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _engine() -> str:
    """Register an engine that is papermill's own, with a call as each cell begins and the kernel's log in a file;
    returns its name."""
    from jupyter_core.utils import ensure_event_loop
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class Client(PapermillNotebookClient):
        def papermill_execute_cells(self) -> None:
            try:
                super().papermill_execute_cells()
            except KeyboardInterrupt:  # the cell's tasks are given up: that their kernel dies now is no news
                ensure_event_loop().set_exception_handler(lambda loop, context: None)
                raise

    class CellEngine(Engine):
        @classmethod
        def execute_managed_notebook(
            cls, nb_man: Any, kernel_name: str, *, on_cell: Callable, log: BinaryIO, start_timeout: int, **_: Any
        ) -> None:
            begin = nb_man.cell_start

            def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> None:
                on_cell((cell_index or 0) + 1, len(nb_man.nb.cells))
                begin(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            client = Client(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout, timeout=None)
            client.execute(stdout=log, stderr=log)

    papermill_engines.register("sdg", CellEngine)
    return "sdg"


def kernel_environment() -> dict[str, str]:
    """What the driver adds to a kernel's environment: the same outputs folder and package, this process as owner."""
    imported = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "SDG_OWNER_PID": str(os.getpid()),
        "SDG_OUTPUTS": str(paths.outputs_root()),
        "PYTHONPATH": os.pathsep.join(imported),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
