"""Find the options of a multiple-choice question that its text does not show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LISTS = ("options", "choices", "endings")  # columns of a list of texts, or of an object
_LETTERED = (("a", "b"), ("option_a", "option_b"), ("option1", "option2"), ("option_1", "option_2"), ("opa", "opb"))


def hidden_options(row: Mapping[str, Any], text: str) -> str:
    """Return the name of a column with options that a problem's text does not show one after the other, or "".

    Known are lists of texts, objects ({"A": …, "B": …} or {"label": […], "text": […]}), and a column per option.
    """
    names = {str(name).lower(): name for name in row}
    for wanted in _LISTS:
        if wanted in names and not _are_shown(_texts(row[names[wanted]]), text):
            return str(names[wanted])
    for pair in _LETTERED:
        values = [row[names[name]] for name in pair if name in names]
        options = [one for one in values if isinstance(one, str) and one.strip()]
        if len(options) == len(pair) and not _are_shown(options, text):
            return str(names[pair[0]])
    return ""


def _are_shown(options: list[str], text: str) -> bool:
    shown, place = _fold(text), 0
    for option in map(_fold, options):
        if (found := shown.find(option, place)) < 0:
            return False
        place = found + len(option)
    return True


def _texts(value: Any) -> list[str]:
    """Return the options in a column's value, [] if it holds none."""
    if isinstance(value, Mapping):
        inner = value.get("text")
        value = inner if isinstance(inner, list) else list(value.values()) if _is_lettered(value) else []
    texts = value if isinstance(value, list) and len(value) > 1 else []
    return [str(one) for one in texts] if all(isinstance(one, (str, int)) for one in texts) else []


def _is_lettered(value: Mapping[str, Any]) -> bool:
    return all(re.fullmatch(r"\(?[A-Za-z0-9]\)?\.?", str(key)) for key in value)


def _fold(text: str) -> str:
    """Return a text without white space, in lower case."""
    return re.sub(r"\s+", "", text).lower()
