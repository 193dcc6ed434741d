"""What the commands share: tables, questions to the user, paths and commands as the user would type them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from sdg_helpers.errors import SdgError


def print_table(rows: list[list[str]]) -> None:
    """Rows of as many cells each, in columns as wide as they need."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def asked(question: str) -> bool:
    """Whether the user types yes. Raises SdgError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise SdgError("expected a terminal to ask on, found none. Give --yes to drop without asking.")
    return input(question).strip().lower() == "yes"


def program() -> str:
    """How this program was called: `sdg`, or its path where the shell would not find it."""
    called = Path(sys.argv[0])
    if called.name != "sdg" or shutil.which("sdg") == str(called):
        return "sdg"
    return shlex.quote(display_path(called))


def display_path(path: Path) -> str:
    """The path from here, where that is shorter to read."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
