"""The executed notebooks of a run: RUN/notebooks/TRACK/NAME.ipynb, each with a record of its execution beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of a notebook's last execution; {} without one, or when it cannot be read.

    Nothing is lost with a record: the notebook is executed again, and its complete stages do no work.
    """
    try:
        known = files.read_json(path)
    except SdgError:
        return {}
    return known if isinstance(known, dict) and isinstance(known.get("stages", {}), dict) else {}


def is_readable_notebook(path: Path) -> bool:
    """Return whether an executed copy exists and is a notebook."""
    try:
        content = files.read_json(path)
    except (SdgError, OSError):
        return False
    return isinstance(content, dict) and isinstance(content.get("cells"), list)
