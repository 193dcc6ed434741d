"""Execute one notebook with papermill, in a kernel of its own or in one that several notebooks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.notebooks.discovery import (
    Notebook,
    escape_braces,
    silence_library_warnings,
    without_address_grammar,
)
from sdg_helpers.notebooks.failures import explain_failure
from sdg_helpers.notebooks.kernels import SharedKernel, register_engine

_MAX_STARTS = 3  # of a kernel: another process may take its port between the choice and the bind
_PORT_TAKEN = b"Address already in use"


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
    with without_address_grammar():
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
                    engine_name=register_engine(),
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
            raise explain_failure(notebook, executed, f"cell {at['cell']} of {at['cells']}", error, log) from error
    log.unlink()
