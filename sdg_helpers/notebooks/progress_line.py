"""Show the running notebook's progress: one live line on a terminal, a line now and then in a file."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from sdg_helpers import files
from sdg_helpers.budgets.ledger import Ledger
from sdg_helpers.budgets.reports import spending_text
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import format_duration, progress_text
from sdg_helpers.notebooks.discovery import Notebook
from sdg_helpers.runs.status import rows_text

_POLL_S = 0.5
_PLAIN_EVERY_S = 30  # between two lines where the output is not a terminal


class ProgressLine:
    """Shows a notebook's progress while the `with` block runs; `finish` or `stop` prints the final line."""

    def __init__(self, out: TextIO, notebook: Notebook, width: int, track_folder: Path, verbose: bool = False):
        """verbose: also print what its cells print."""
        self._out, self._is_terminal, self._verbose = out, out.isatty(), verbose
        self._title = f"{notebook.title:<{width}}"
        self._ledger = Ledger(track_folder.parent)
        self._stages = [track_folder / info.name for info in notebook.stages]
        self._start, self._shown_at, self._cell = time.time(), time.time(), (0, 0)
        self._closed = threading.Event()
        self._progress: dict[str, Any] = {}
        self._first_progress: dict[str, Any] = {}

    def __enter__(self) -> ProgressLine:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def on_cell(self, cell: int, cells: int) -> None:
        """Record that cell number `cell` of `cells` begins."""
        self._cell = cell, cells

    def on_text(self, text: str) -> None:
        """Print what a cell has printed above the line, if that is wanted."""
        if self._verbose:
            self._out.write(("\r\x1b[K" if self._is_terminal else "") + text + "\n")
            self._out.flush()

    def finish(self) -> None:
        """Print the final line of a successful notebook: rows, time, tokens per second."""
        parts = [*self._complete_stages()[-1:], format_duration(time.time() - self._start)]
        if self._progress.get("tokens_per_s"):
            parts.append(f"{self._progress['tokens_per_s']:,.0f} tok/s")
        self.stop("  ".join(parts))

    def stop(self, text: str) -> None:
        """Print `text` as the final line."""
        self._close()
        self._show(text, "\n")

    def _close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(_POLL_S):
            now = time.time()
            if self._is_terminal or now - self._shown_at >= _PLAIN_EVERY_S:
                self._shown_at = now
                self._show(self._text(), "" if self._is_terminal else "\n")
            else:
                self._read_progress()

    def _text(self) -> str:
        progress, complete, (cell, cells) = self._read_progress(), self._complete_stages(), self._cell
        parts = [f"cell {cell} of {cells}"] if cell else ["starting"]
        if complete and len(complete) == len(self._stages):  # only tables and plots remain
            parts = [complete[-1], *parts]
        elif progress:
            parts = [progress_text(progress), *self._spending()]
        return "  ".join([*parts, format_duration(time.time() - self._start)])

    def _spending(self) -> list[str]:
        with suppress(SdgError):  # a damaged ledger, which the stage itself reports
            return [text] if (text := spending_text(self._ledger)) else []
        return []

    def _complete_stages(self) -> list[str]:
        """Return the row counts of the notebook's complete stages, as text."""
        manifests = [_read_if_valid(folder / "manifest.json") for folder in self._stages]
        return [rows_text(manifest["counts"]) for manifest in manifests if "counts" in manifest]

    def _read_progress(self) -> dict[str, Any]:
        """Return the latest progress that a stage reported since the notebook began; keep it for the final line."""
        for folder in self._stages:
            found = _read_if_valid(folder / "progress.json")
            if found.get("updated_at", 0) >= self._start:
                self._progress = {**found, "rows_per_s": self._rows_per_s(found)}
        return self._progress

    def _rows_per_s(self, found: dict[str, Any]) -> float:
        """Return the speed since this session's first report; rows of earlier sessions do not count."""
        if not self._first_progress or found.get("started_at") != self._first_progress.get("started_at"):
            self._first_progress = found
        elapsed = found["updated_at"] - self._first_progress["updated_at"]
        return (found["done"] - self._first_progress["done"]) / elapsed if elapsed > 0 else 0.0

    def _show(self, text: str, end: str) -> None:
        line = f"{self._title}  {text}"
        if self._is_terminal:
            line = "\r" + line[: shutil.get_terminal_size().columns - 1] + "\x1b[K"
        self._out.write(line + end)
        self._out.flush()


def _read_if_valid(path: Path) -> dict[str, Any]:
    """Return what a file of a stage holds; {} for a missing or damaged one, which the stage itself reports."""
    with suppress(SdgError):
        content = files.read_json(path)
        if isinstance(content, dict):
            return content
    return {}
