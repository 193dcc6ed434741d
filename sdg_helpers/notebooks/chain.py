"""Execute notebooks in order for `sdg run`: skip those that are up to date, stop at the first failure."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from sdg_helpers import files
from sdg_helpers.budgets.ledger import at_work
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock
from sdg_helpers.notebooks import freshness
from sdg_helpers.notebooks.discovery import Notebook
from sdg_helpers.notebooks.execution import execute
from sdg_helpers.notebooks.failures import NotebookFailed
from sdg_helpers.notebooks.kernels import SharedKernel, kernel_environment
from sdg_helpers.notebooks.progress_line import ProgressLine
from sdg_helpers.processes import interrupt_on_signals
from sdg_helpers.runs.executed import is_readable_notebook, read_record
from sdg_helpers.runs.run import Run

_ORPHANED_KERNEL_S = 10  # a kernel notices within a second or two that its driver was killed, and exits


def run_notebooks(
    run: Run,
    selected: Sequence[Notebook],
    values: Mapping[str, Mapping[str, Any]],
    out: TextIO,
    again: bool = False,
    before_each: Callable[[Notebook], None] = lambda notebook: None,
    kernel: SharedKernel | None = None,
    verbose: bool = False,
) -> None:
    """Execute the selected notebooks with their parameter values; write the executed copies to RUN/notebooks/.

    again: execute up-to-date notebooks too (their complete stages still do no work). before_each: called before each
    notebook, under the run's lock. kernel: for all of them; None: one for each. verbose: also write what the cells
    print to `out`. The run's servers are always stopped at the end. Raises NotebookFailed at the first failure, and
    SdgError when another driver holds this run.
    """
    width = max(len(notebook.title) for notebook in selected)
    lock = Lock(run.folder / ".lock", f"run {run.name!r}")
    with lock, _kernel_environment(), interrupt_on_signals(), at_work(run.folder):
        try:
            for notebook in selected:
                before_each(notebook)
                given = _given(run, notebook, values[notebook.key])
                line = ProgressLine(out, notebook, width, run.folder / notebook.track, verbose)
                _run_one(run, notebook, given, line, again, kernel)
        finally:
            _stop_servers(run)


def executed_path(run: Run, notebook: Notebook) -> Path:
    """Return the path of a notebook's executed copy."""
    return run.folder / "notebooks" / notebook.track / f"{notebook.name}.ipynb"


def is_complete(run: Run, notebook: Notebook, values: Mapping[str, Any]) -> bool:
    """Return whether a notebook with these parameter values is up to date, so that `run_notebooks` would skip it."""
    dependencies = freshness.dependencies(run, notebook, _given(run, notebook, values))
    return freshness.is_up_to_date(run, notebook, dependencies, executed_path(run, notebook).with_suffix(".json"))


def _run_one(
    run: Run, notebook: Notebook, given: dict[str, Any], line: ProgressLine, again: bool, kernel: SharedKernel | None
) -> None:
    executed = executed_path(run, notebook)
    record, failed = executed.with_suffix(".json"), executed.with_suffix(".failed.ipynb")
    dependencies, kept = freshness.dependencies(run, notebook, given), _has_good_copy(record)
    begun = {"kept": kept, "parameters": dependencies["parameters"]}
    with line:
        if not again and freshness.is_up_to_date(run, notebook, dependencies, record):
            return line.stop("complete, nothing to do")
        _wait_for_orphaned_kernel(run, notebook)
        files.write_json(record, {"state": "running", **begun, "pid": os.getpid()})
        start = time.time()
        try:
            execute(notebook, failed if kept else executed, given, line.on_cell, line.on_text, kernel)
        except NotebookFailed as error:
            state = "interrupted" if error.budget_spent else "failed"
            files.write_json(record, {"state": state, **begun, "cell": error.cell, "error": error.error})
            line.stop("stopped: the budget is spent" if error.budget_spent else "failed")
            raise
        except KeyboardInterrupt:
            files.write_json(record, {"state": "interrupted", **begun})
            line.stop("stopped")
            raise
        (failed if kept else executed).replace(executed)
        failed.unlink(missing_ok=True)
        seconds = round(time.time() - start, 1)
        stages = freshness.manifest_digests(run, notebook.track)
        files.write_json(record, {"state": "complete", "seconds": seconds, **dependencies, "stages": stages})
        line.finish()


def _has_good_copy(record: Path) -> bool:
    """Return whether the executed copy comes from a successful attempt.

    A later attempt is then written beside it, and replaces it only when that attempt succeeds too.
    """
    known = read_record(record)
    good = known.get("state") == "complete" or known.get("kept", False)
    return good and is_readable_notebook(record.with_suffix(".ipynb"))


def _given(run: Run, notebook: Notebook, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all parameters that are set, the run's name and profile included."""
    own = {"RUN": run.name, "PROFILE": run.profile.key}
    for name in own:
        if name not in notebook.parameters:
            raise SdgError(
                f"{notebook.path}: the cell tagged `parameters` does not declare {name}; it declares "
                f"{', '.join(notebook.parameters) or 'no parameters'}. Add {name} to that cell."
            )
    return {**values, **own}


def _wait_for_orphaned_kernel(run: Run, notebook: Notebook) -> None:
    """Wait until the kernel of a killed driver has released this notebook's stages, or give up after 10 s."""
    deadline = time.time() + _ORPHANED_KERNEL_S
    locks = [run.folder / notebook.track / info.name / ".lock" for info in notebook.stages]
    while time.time() < deadline and not all(map(Lock.is_free, locks)):
        time.sleep(0.2)


@contextmanager
def _kernel_environment() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(kernel_environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _stop_servers(run: Run) -> None:
    if run.servers.is_dir():
        from sdg_helpers.serving.engines import stop_servers

        stop_servers(run.servers)
