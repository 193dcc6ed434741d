"""`sdg run`: execute notebooks in order, pass over those with nothing left to do, stop at the first failure."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import orjson

from sdg_helpers import __version__, files, paths, prompts, runs
from sdg_helpers.errors import SdgError
from sdg_helpers.locks import Lock
from sdg_helpers.notebooks.discovery import Notebook
from sdg_helpers.notebooks.execution import NotebookFailed, execute, kernel_environment
from sdg_helpers.notebooks.progress_line import LiveLine
from sdg_helpers.runs.run import Run

_FORMER_KERNEL_S = 10  # a kernel notices within a second or two that its driver was killed, and ends


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C asked us to end (Slurm, kill, a closed terminal)."""


def run_notebooks(
    run: Run, selected: Sequence[Notebook], values: Mapping[str, Mapping[str, Any]], out: TextIO, again: bool = False
) -> None:
    """Execute the selected notebooks with their values; the copies with outputs lie in the run's notebooks/ folder.

    again: execute also those that are complete (their stages still do nothing twice). Raises NotebookFailed at the
    first failure; SdgError when another driver works on this run. The run's servers are stopped at the end, always.
    """
    width = max(len(notebook.title) for notebook in selected)
    with Lock(run.folder / ".lock", f"run {run.name!r}"), _environment(), _signals():
        try:
            for notebook in selected:
                given = {**values[notebook.key], **_given_by_run(run, notebook)}
                line = LiveLine(out, notebook, width, run.folder / notebook.track)
                _run_one(run, notebook, given, line, again)
        finally:
            _stop_servers(run)


def executed_path(run: Run, notebook: Notebook) -> Path:
    """Where the executed copy of a notebook lies."""
    return run.folder / "notebooks" / notebook.track / f"{notebook.name}.ipynb"


def _run_one(run: Run, notebook: Notebook, given: dict[str, Any], line: LiveLine, again: bool) -> None:
    executed = executed_path(run, notebook)
    record, failed = executed.with_suffix(".json"), executed.with_suffix(".failed.ipynb")
    wanted, kept = _wanted(run, notebook, given), _has_good_copy(record)
    with line:
        if not again and _is_complete(run, notebook, wanted, record):
            return line.stop("complete, nothing to do")
        _await_former_kernel(run, notebook)
        files.write_json(record, {"state": "running", "kept": kept, "pid": os.getpid()})
        start = time.time()
        try:
            execute(notebook, failed if kept else executed, given, line.on_cell)
        except NotebookFailed as error:
            files.write_json(record, {"state": "failed", "kept": kept, "cell": error.cell, "error": error.error})
            line.stop("failed")
            raise
        except KeyboardInterrupt:
            files.write_json(record, {"state": "interrupted", "kept": kept})
            line.stop("stopped")
            raise
        (failed if kept else executed).replace(executed)
        failed.unlink(missing_ok=True)
        files.write_json(
            record,
            {
                "state": "complete",
                "seconds": round(time.time() - start, 1),
                **wanted,
                "stages": _manifest_digests(run, notebook.track),
            },
        )
        line.finish()


def _has_good_copy(record: Path) -> bool:
    """Whether the executed copy is of an attempt that succeeded: a later one is written beside it, and takes its place
    only when it succeeds too."""
    known = files.read_json(record) or {}
    return (known.get("state") == "complete" or known.get("kept", False)) and record.with_suffix(".ipynb").exists()


def _given_by_run(run: Run, notebook: Notebook) -> dict[str, str]:
    given = {"RUN": run.name, "PROFILE": run.profile.key}
    for name in given:
        if name not in notebook.parameters:
            raise SdgError(
                f"{notebook.path}: expected the parameters RUN and PROFILE in the cell tagged `parameters`, "
                f"found {', '.join(notebook.parameters) or 'no parameters'}. Add {name}."
            )
    return given


def _wanted(run: Run, notebook: Notebook, given: Mapping[str, Any]) -> dict[str, Any]:
    """All that a notebook's result depends on, besides the stages before it."""
    values = {**{name: one.value for name, one in notebook.parameters.items()}, **given}
    named = [
        path
        for text in _texts(values.values())
        for path in (prompts.prompt_path(text), paths.resolve_path(text))
        if os.path.isfile(path)
    ]
    return orjson.loads(
        orjson.dumps(
            {
                "source": notebook.digest(),
                "version": __version__,
                "parameters": dict(given),
                "servers": [[one.served_model, one.model_dump()] for one in run.profile.specs],
                "files": {str(path): _mark(path) for path in named},
            },
            default=str,
        )
    )


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """All texts that may name a file, those of lists too, each without the #COLUMN of a benchmark."""
    for value in values:
        if isinstance(value, str):
            yield from (value, value.partition("#")[0])
        elif isinstance(value, (list, tuple)):
            yield from _texts(value)


def _is_complete(run: Run, notebook: Notebook, wanted: dict[str, Any], record: Path) -> bool:
    """Whether an earlier session executed just this, and the data is still as it was then."""
    known = files.read_json(record) or {}
    if known.get("state") != "complete" or not record.with_suffix(".ipynb").exists():
        return False
    now = _manifest_digests(run, notebook.track)
    return (
        all(known.get(key) == value for key, value in wanted.items())
        and all(now.get(stage) == digest for stage, digest in known["stages"].items())
        and all(_untouched(run.folder / notebook.track / info.name) for info in notebook.stages)
    )


def _manifest_digests(run: Run, track: str) -> dict[str, str]:
    paths = [run.folder / track / info.name / "manifest.json" for info in runs.STAGES.get(track, ())]
    return {path.parent.name: files.fingerprint(path)["blake2b"] for path in paths if path.exists()}


def _untouched(stage: Path) -> bool:
    """Whether a stage is not half done, and its inputs and outputs have the sizes and times of its manifest; if not,
    the stage itself looks closer and says what changed."""
    manifest = files.read_json(stage / "manifest.json")
    if manifest is None:
        return not (stage / "begun.json").exists()
    known = [*manifest.get("outputs", {}).items(), *((one["path"], one) for one in manifest.get("inputs", {}).values())]
    return all(_mark(stage / name) == [one["bytes"], one["mtime_ns"]] for name, one in known)


def _mark(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _await_former_kernel(run: Run, notebook: Notebook) -> None:
    deadline = time.time() + _FORMER_KERNEL_S
    locks = [run.folder / notebook.track / info.name / ".lock" for info in notebook.stages]
    while time.time() < deadline and not all(map(Lock.is_free, locks)):
        time.sleep(0.2)


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(kernel_environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end us as Ctrl-C does: kernel interrupted, servers stopped."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_servers(run: Run) -> None:
    if run.servers.is_dir():
        from sdg_helpers.serving.engines import stop_servers

        stop_servers(run.servers)
