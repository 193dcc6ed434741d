"""What the commands share: tables, confirmation, and paths and commands as the user would type them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdg_helpers.errors import SdgError


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equal length in columns that are as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    """Print a value for other programs."""
    print(json.dumps(value, indent=2, default=str))


def confirm(question: str) -> bool:
    """Return whether the user types yes. Raises SdgError when there is no terminal to ask on."""
    if not sys.stdin.isatty():
        raise SdgError("cannot ask for confirmation without a terminal. Give --yes to skip the question.")
    return input(question).strip().lower() == "yes"


def program_name() -> str:
    """Return `sdg`, or the path it was called by when the shell would not find it."""
    called = Path(sys.argv[0])
    if called.name != "sdg" or shutil.which("sdg") == str(called):
        return "sdg"
    return shlex.quote(display_path(called))


def display_path(path: Path) -> str:
    """Return a path relative to the current folder when it is inside it, else the path unchanged."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
