"""Read the problem and the reference answer in a row of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdg_helpers.answers.extraction import find_answer
from sdg_helpers.answers.no_answer import clean_reference
from sdg_helpers.row_files.values import Number

_GSM8K = "####"  # GSM8K writes its answer behind this mark, after the solution


def find_value(row: Mapping[str, Any], name: str) -> Any:
    """Return the value of a column, or of a key of the object in it (`column.key`); None without one."""
    if name in row or not name:
        return row.get(name)
    column, _, key = name.partition(".")
    inner = row.get(column)
    return inner.get(key) if isinstance(inner, Mapping) else None


def read_problem(row: Mapping[str, Any], name: str) -> str:
    """Return a problem's text: also that of a chat's last user message, or of an instruction with its input.

    Raises ValueError without one.
    """
    value = find_value(row, name)
    if isinstance(value, list):  # a chat, as in verl's data
        texts = [one.get("content") for one in value if isinstance(one, Mapping) and one.get("role") == "user"]
        value = _join_parts(texts[-1]) if texts else None
    if not isinstance(value, str) or isinstance(value, Number):
        raise ValueError(f"{name!r} must hold a text, not {_short(value)}")
    if name.lower() == "instruction" and isinstance(more := row.get("input"), str) and more.strip():
        return f"{value}\n\n{more}"
    return str(value)


def read_answer(value: Any, name: str = "") -> str:
    """Return a reference answer as text, "" for none. A list is joined by commas; of a solution, the box counts.

    Raises ValueError for an object and for a list of anything but plain values.
    """
    if isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(one, (list, dict)) for one in value)):
        raise ValueError(f"{name!r} must hold a text, a number or a list of them, not {_short(value)}")
    if isinstance(value, list):
        return ", ".join(text for text in map(clean_reference, value) if text)
    text = clean_reference(value)
    if _GSM8K in text:
        return clean_reference(text.rpartition(_GSM8K)[2])
    if name == "solution":
        return clean_reference(find_answer(text).answer)
    return text


def _join_parts(content: Any) -> Any:
    """Return the text of a message whose content is a list of parts, if all of them are text."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    found = [text for text in texts if isinstance(text, str)]
    return "\n".join(found) if len(found) == len(content) else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
