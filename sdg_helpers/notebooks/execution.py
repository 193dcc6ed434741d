"""Execute one notebook with papermill, in a kernel of its own or in one that several notebooks share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sdg_helpers import paths
from sdg_helpers.budgets.budget import BudgetSpent
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.notebooks.discovery import Notebook, escape_braces, silence_library_warnings
from sdg_helpers.paths import PACKAGE

_MAX_STARTS = 3  # of a kernel: another process may take its port between the choice and the bind
_PORT_TAKEN = b"Address already in use"
_EMPTY_NAMESPACE = "get_ipython().reset(new_session=True)"
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class NotebookFailed(SdgError):
    """A notebook failed: in which cell (numbered as in JupyterLab), why, and where its executed copy is."""

    budget_spent = False  # whether it only stopped because the run's budget is spent

    def __init__(self, notebook: Notebook, executed: Path, cell: str, error: str, traceback: str = ""):
        details = f"{traceback}\n{error}" if traceback else error
        super().__init__(f"{notebook.key} failed in {cell}\n{_indent(details)}\nExecuted notebook: {executed}")
        self.cell, self.error = cell, error


class SharedKernel:
    """A kernel for several notebooks of one track, started by the first of them; close it with `with`.

    Every notebook begins with an empty namespace, but modules stay imported, which saves seconds per notebook.
    """

    def __init__(self) -> None:
        self.manager: Any = None  # nbclient's, once a notebook has run

    def __enter__(self) -> SharedKernel:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the kernel; the next notebook starts another one."""
        manager, self.manager = self.manager, None
        if manager is not None and manager.has_kernel:
            from jupyter_core.utils import run_sync

            run_sync(manager.shutdown_kernel)(now=True)


def execute(
    notebook: Notebook,
    executed: Path,
    parameters: Mapping[str, Any],
    on_cell: Callable[[int, int], None] | None = None,
    on_text: Callable[[str], None] | None = None,
    kernel: SharedKernel | None = None,
) -> None:
    """Run a notebook from top to bottom in a clean kernel, writing the copy with outputs to `executed` cell by cell.

    The kernel inherits this process's environment and packages; its working folder is the notebook's, as in
    JupyterLab. on_cell(cell, cells) is called when a cell begins; on_text(text) when one that printed something ends.
    kernel: run in this one, after emptying its namespace. Raises SdgError for an unknown parameter, before anything
    starts, and NotebookFailed when a cell raises or the kernel dies.
    """
    for name in parameters:
        if name not in notebook.parameters:
            raise SdgError(
                f"{notebook.key}: unknown parameter {name}.{did_you_mean(name, notebook.parameters)} "
                f"Its parameters: {', '.join(notebook.parameters) or 'none'}."
            )
    silence_library_warnings()
    from papermill.execute import execute_notebook

    executed.parent.mkdir(parents=True, exist_ok=True)
    at = {"cell": 0, "cells": 0}

    def record_cell(cell: int, cells: int) -> None:
        at.update(cell=cell, cells=cells)
        if on_cell:
            on_cell(cell, cells)

    log = executed.with_suffix(".log")
    for start in range(1, _MAX_STARTS + 1):
        try:
            with open(log, "wb") as file:
                execute_notebook(
                    escape_braces(notebook.path),
                    escape_braces(executed),
                    dict(parameters),
                    engine_name=_register_engine(),
                    kernel_name="python3",
                    progress_bar=False,
                    autosave_cell_every=10,
                    start_timeout=120,
                    cwd=notebook.path.parent,
                    on_cell=record_cell,
                    on_text=on_text,
                    log=file,
                    kernel=kernel,
                )
            break
        except Exception as error:
            if start < _MAX_STARTS and not at["cells"] and _PORT_TAKEN in log.read_bytes():
                if kernel is not None:
                    kernel.close()
                continue
            raise _failure(notebook, executed, f"cell {at['cell']} of {at['cells']}", error, log) from error
    log.unlink()


def kernel_environment() -> dict[str, str]:
    """Return the variables to add to a kernel's environment: this process as owner, its outputs folder and package."""
    imported = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "SDG_OWNER_PID": str(os.getpid()),
        "SDG_OUTPUTS": str(paths.outputs_root()),
        "PYTHONPATH": os.pathsep.join(imported),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _failure(notebook: Notebook, executed: Path, cell: str, error: Exception, log: Path) -> NotebookFailed:
    """Describe what papermill raised; `cell` says where, for a failure that is not an exception in a cell."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        cell = f"cell [{error.exec_count}], {_failing_line(error.source, error.exec_count, error.traceback)}"
        message = _ANSI.sub("", f"{error.ename}: {error.evalue}")
        traceback = "" if error.ename in _sdg_error_names() else _traceback_tail(error.traceback, message)
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
    found = re.search(rf"Cell In\s?\[{exec_count}\], line (\d+)", _ANSI.sub("", "\n".join(traceback)))
    number = int(found[1]) if found and int(found[1]) <= len(lines) else 1
    return f"line {number}: {lines[number - 1].strip()[:100]}"


def _sdg_error_names(error: type[SdgError] = SdgError) -> set[str]:
    """Return the names of SdgError and all its subclasses: their messages are self-contained, so omit the traceback."""
    from sdg_helpers import hub, manifests  # noqa: F401
    from sdg_helpers.cluster import exit_codes, slurm  # noqa: F401  (subclasses are known once their module is loaded)
    from sdg_helpers.completions import types  # noqa: F401

    return {error.__name__}.union(*map(_sdg_error_names, error.__subclasses__()))


def _traceback_tail(traceback: list[str], message: str, lines: int = 12) -> str:
    """Return the last lines of a traceback, without colours and without the final error message."""
    text = _ANSI.sub("", "\n".join(traceback)).rstrip().removesuffix(message).rstrip()
    return "\n".join([line for line in text.splitlines() if not line.startswith("-" * 20)][-lines:])


def _indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _printed_text(cell: Any) -> str:
    """Return what a cell printed and the value of its last line, as text."""
    parts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.get("outputs", [])
        if output["output_type"] in ("stream", "execute_result")
    ]
    return _ANSI.sub("", "\n".join("".join(part).rstrip("\n") for part in parts if part))


def _register_engine() -> str:
    """Register a papermill engine that reports cells and what they print, and logs the kernel; return its name."""
    from jupyter_core.utils import ensure_event_loop
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class Client(PapermillNotebookClient):
        def papermill_execute_cells(self) -> None:
            if not self.owns_km:
                self.wait_for_reply(self.kc.execute(_EMPTY_NAMESPACE, silent=True))
            try:
                super().papermill_execute_cells()
            except KeyboardInterrupt:  # pending tasks would each complain that their kernel died
                ensure_event_loop().set_exception_handler(lambda loop, context: None)
                raise

    class CellEngine(Engine):
        @classmethod
        def execute_managed_notebook(
            cls,
            nb_man: Any,
            kernel_name: str,
            *,
            on_cell: Callable,
            on_text: Callable | None,
            log: BinaryIO,
            start_timeout: int,
            kernel: SharedKernel | None,
            **_: Any,
        ) -> None:
            begin, end = nb_man.cell_start, nb_man.cell_complete

            def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> None:
                on_cell((cell_index or 0) + 1, len(nb_man.nb.cells))
                begin(cell, cell_index, **more)

            def cell_complete(cell: Any, cell_index: int | None = None, **more: Any) -> None:
                end(cell, cell_index, **more)
                if on_text and (text := _printed_text(cell)):
                    on_text(text)

            nb_man.cell_start, nb_man.cell_complete = cell_start, cell_complete
            client = Client(
                nb_man,
                km=kernel and kernel.manager,
                kernel_name=kernel_name,
                startup_timeout=start_timeout,
                timeout=None,
            )
            try:
                client.execute(stdout=log, stderr=log, cleanup_kc=kernel is None)
            finally:
                if kernel is not None:
                    kernel.manager = client.km
                    if client.kc is not None:
                        client.kc.stop_channels()

    papermill_engines.register("sdg", CellEngine)
    return "sdg"
