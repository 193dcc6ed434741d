"""Cards in Markdown: tables of untrusted text, and the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], raw: bool = False) -> str:
    """Return a table. raw: the cells are Markdown already, with untrusted parts escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) if raw else _cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


def escape(text: str) -> str:
    """Return untrusted text as one line that is safe in a table: no markup, no line breaks, no cell borders."""
    text = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("|", "\\|")[:500]


def write_markdown(path: Path, parts: Iterable[str]) -> Path:
    """Write a card of these parts and return its path."""
    with files.atomic_writer(path) as out:
        out.write(("\n\n".join(parts) + "\n").encode("utf-8", "replace"))
    return path
