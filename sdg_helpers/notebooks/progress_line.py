"""One live line on the terminal for the notebook that runs."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from sdg_helpers import files
from sdg_helpers.formatting import format_duration
from sdg_helpers.notebooks.discovery import Notebook
from sdg_helpers.runs.status import progress_text, rows_text

_POLL_S = 0.5
_PLAIN_EVERY_S = 30  # where the output is a file, one line so often


class LiveLine:
    """Shows how a notebook comes on while the `with` block runs; `finish` or `stop` puts the last word."""

    def __init__(self, out: TextIO, notebook: Notebook, width: int, track_folder: Path):
        self._out, self._tty = out, out.isatty()
        self._title = f"{notebook.title:<{width}}"
        self._stages = [track_folder / info.name for info in notebook.stages]
        self._start, self._shown_at, self._cell = time.time(), time.time(), (0, 0)
        self._ended, self._progress, self._first = threading.Event(), {}, {}

    def __enter__(self) -> LiveLine:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def on_cell(self, cell: int, cells: int) -> None:
        """Told by the runner as each cell begins."""
        self._cell = cell, cells

    def finish(self) -> None:
        """The line that stays: rows, time, tokens a second."""
        parts = [*self._made()[-1:], format_duration(time.time() - self._start)]
        if self._progress.get("tokens_per_s"):
            parts.append(f"{self._progress['tokens_per_s']:,.0f} tok/s")
        self.stop("  ".join(parts))

    def stop(self, text: str) -> None:
        """End the line with this text."""
        self._close()
        self._show(text, "\n")

    def _close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_S):
            now = time.time()
            if self._tty or now - self._shown_at >= _PLAIN_EVERY_S:
                self._shown_at = now
                self._show(self._text(), "" if self._tty else "\n")
            else:
                self._latest()

    def _text(self) -> str:
        progress, made, (cell, cells) = self._latest(), self._made(), self._cell
        parts = [f"cell {cell} of {cells}"] if cell else ["starting"]
        if made and len(made) == len(self._stages):  # what is left is tables and plots
            parts = [made[-1], *parts]
        elif progress:
            parts = [progress_text(progress)]
        return "  ".join([*parts, format_duration(time.time() - self._start)])

    def _made(self) -> list[str]:
        """Rows of each of the notebook's stages that is complete."""
        manifests = [files.read_json(folder / "manifest.json") for folder in self._stages]
        return [rows_text(manifest["counts"]) for manifest in manifests if manifest]

    def _latest(self) -> dict[str, Any]:
        """What the notebook's stages reported last, if it was since we began; remembered for the last word."""
        for folder in self._stages:
            found = files.read_json(folder / "progress.json") or {}
            if found.get("updated_at", 0) >= self._start:
                self._progress = {**found, "rows_per_s": self._rate(found)}
        return self._progress

    def _rate(self, found: dict[str, Any]) -> float:
        """Rows a second since the first report of this session: what is done may have been done in earlier ones."""
        if not self._first or found.get("started_at") != self._first.get("started_at"):
            self._first = found
        elapsed = found["updated_at"] - self._first["updated_at"]
        return (found["done"] - self._first["done"]) / elapsed if elapsed > 0 else 0.0

    def _show(self, text: str, end: str) -> None:
        line = f"{self._title}  {text}"
        if self._tty:
            line = "\r" + line[: shutil.get_terminal_size().columns - 1] + "\x1b[K"
        self._out.write(line + end)
        self._out.flush()
