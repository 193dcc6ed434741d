"""Check what another tool wrote before it is used: the type of every key, and that files are where they seem."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sdg_helpers.errors import SdgError

_FINISH_REASON = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]{0,64}')  # our rows' ends are read without a JSON parser
_MAX_COUNT = 1 << 31
_DECISIONS = ("keep", "relabel", "undecided")


class _Kind(NamedTuple):
    said: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return _is_number(value) and 0 <= value < _MAX_COUNT and value == int(value)


_TEXT = _Kind("a text", lambda value: isinstance(value, str))
_FILLED_TEXT = _Kind("a text that is not empty", lambda value: isinstance(value, str) and value != "")
_ANSWER = _Kind("a text or a number", lambda value: isinstance(value, str) or _is_number(value))
_FLAG = _Kind("true or false", lambda value: isinstance(value, bool))
_COUNT = _Kind(f"a whole number from 0 to {_MAX_COUNT - 1:,}", _is_count)
_KEYS = {
    "id": _FILLED_TEXT,
    "expected_answer": _ANSWER,
    "original_expected_answer": _ANSWER,
    "predicted_answer": _ANSWER,
    "generation": _TEXT,
    "reasoning_content": _TEXT,
    "finish_reason": _Kind(
        "a text of up to 64 letters, without quotation marks",
        lambda value: isinstance(value, str) and _FINISH_REASON.fullmatch(value) is not None,
    ),
    "num_generated_tokens": _COUNT,
    "judgement": _TEXT,
    "updated_answer_from_r1": _FLAG,
    "votes": _COUNT,
    "total_votes": _COUNT,
    "label_decision": _Kind(f"one of {', '.join(_DECISIONS)}", lambda value: value in _DECISIONS),
    "label_reason": _TEXT,
    "label_tied": _FLAG,
    "label_confidence": _Kind("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
}
_REQUIRED = {"problem": _FILLED_TEXT}


def check_row(row: dict[str, Any], path: Path, number: int) -> None:
    """Raise SdgError, naming row and key, for a value of another type than its key has. null counts as absent."""
    for key, kind in (*_REQUIRED.items(), *_KEYS.items()):
        value = row.get(key)
        if (value is None and key not in _REQUIRED) or (value is not None and kind.accepts(value)):
            continue
        shown = repr(value)
        raise SdgError(
            f"{path}, row {number}: the key {key!r} must hold {kind.said}, not "
            f"{shown if len(shown) <= 60 else shown[:60] + '…'}. Give files of a math recipe, or correct this row."
        )


def check_file(path: Path, folder: Path) -> Path:
    """Return the path of a file to import. Raises SdgError for a link out of the folder and for anything but a file."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SdgError(f"{path}: cannot be read ({error}). Correct or remove it, then import again.") from None
    if not target.is_relative_to(folder.resolve()):
        raise SdgError(
            f"{path}: a link out of the folder, to {target}, which is not followed. Copy the file into {folder}, or "
            "give the folder that it is in."
        )
    if not target.is_file():
        raise SdgError(f"{path}: not a file. Remove it, then import again.")
    return path
