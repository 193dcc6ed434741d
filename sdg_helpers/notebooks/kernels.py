"""Kernels for papermill: one for each notebook or one for several, with what their cells print passed on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, BinaryIO

from sdg_helpers import paths
from sdg_helpers.notebooks.failures import without_colours
from sdg_helpers.paths import PACKAGE

_EMPTY_NAMESPACE = "get_ipython().reset(new_session=True)"


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


def register_engine() -> str:
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


def _printed_text(cell: Any) -> str:
    """Return what a cell printed and the value of its last line, as text."""
    parts = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.get("outputs", [])
        if output["output_type"] in ("stream", "execute_result")
    ]
    return without_colours("\n".join("".join(part).rstrip("\n") for part in parts if part))
