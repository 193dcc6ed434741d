"""What a cell in JupyterLab shows while it works: a bar, and one plain line when it is interrupted."""

from __future__ import annotations

import html
import os
import sys
from typing import Any

_INTERRUPTED = "Interrupted. Finished rows are kept: run this cell again to go on where it stopped."


def in_lab() -> bool:
    """Return whether a person works in this kernel; False in one of `sdg run`, which shows progress itself."""
    if "IPython" not in sys.modules or "SDG_OWNER_PID" in os.environ:
        return False
    return hasattr(sys.modules["IPython"].get_ipython(), "kernel")


class CellBar:
    """A line with a bar below the running cell; outside JupyterLab it shows nothing."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str, done: float | None = None, total: float | None = None) -> None:
        """Show a text beside a bar, which moves by itself without a total."""
        size = "" if done is None or not total else f" value='{min(done, total):g}' max='{total:g}'"
        self._replace(f"<progress{size} style='width: 16em; vertical-align: middle'></progress> {html.escape(text)}")

    def downloading(self, done: int, total: int) -> None:
        """Show how much of the weights is there. done, total: bytes."""
        self.show(f"downloading the weights: {done / 1e9:.1f} of {total / 1e9:.1f} GB", done, total)

    def close(self, text: str) -> None:
        """Replace the bar, if there is one, with a last text; "" removes it."""
        if self._handle is not None:
            self._replace(html.escape(text))

    def _replace(self, content: str) -> None:
        if not in_lab():
            return
        from IPython.display import HTML, display

        page = HTML(f"<div style='font-size: 0.9em'>{content}</div>" if content else "")
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)


def explain_interrupts() -> None:
    """In JupyterLab: answer an interrupt with one plain line in place of a traceback. The cell still counts as failed,
    so that *Run All* stops there."""
    if in_lab():
        sys.modules["IPython"].get_ipython().set_custom_exc((KeyboardInterrupt,), _on_interrupt)


def _on_interrupt(shell: Any, kind: type, error: BaseException, traceback: Any, tb_offset: int | None = None) -> list:
    print(_INTERRUPTED, file=sys.stderr)
    return []
