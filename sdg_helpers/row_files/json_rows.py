"""Rows of JSON Lines and JSON files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from sdg_helpers import exact_json
from sdg_helpers.errors import SdgError
from sdg_helpers.row_files.values import BadRow, Number, Row, find_flaw

_BLOCK = 1 << 20
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_START_OF_A_LIST = re.compile(r"\[\s*(?:\{|$)")
_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=lambda name: None)

Placed = tuple[str, Row | BadRow]


def read_json_lines(file: TextIO) -> Iterator[Placed]:
    """Yield ("line 7", row) for every line that is not blank; or the rows of a list that was given this suffix."""
    first, blank = _first_line(file)
    if _START_OF_A_LIST.match(first.strip()):
        yield from _numbered(_list_items(first, file))
        return
    for number, line in enumerate(chain([first], file), blank + 1):
        if line and not line.isspace():
            yield f"line {number}", _parse_line(line.strip())


def read_json(file: TextIO, path: Path) -> Iterator[Placed]:
    """Read a list of objects an object at a time; an object that holds such a list; or JSON Lines with this suffix."""
    first, blank = _first_line(file)
    if first.lstrip().startswith("["):
        yield from _numbered(_list_items(first, file))
    elif isinstance(_parse_line(first.strip()), dict) and (second := file.readline()):
        for number, line in enumerate(chain((first, second), file), blank + 1):
            if not line.isspace():
                yield f"line {number}", _parse_line(line.strip())
    else:
        yield from _numbered(_rows_of_object((first + file.read()).strip(), path))


def _first_line(file: TextIO) -> tuple[str, int]:
    """Return the first line that is not blank, and how many blank ones come before it."""
    blank, line = 0, file.readline()
    while line and line.isspace():
        blank, line = blank + 1, file.readline()
    return line, blank


def _numbered(rows: Iterable[Row | BadRow]) -> Iterator[Placed]:
    return ((f"row {number}", row) for number, row in enumerate(rows, 1))


def _parse_line(line: str) -> Row | BadRow:
    if flaw := find_flaw(line):
        return BadRow(flaw)
    try:
        return _checked(_DECODER.decode(line), line, _has_surrogate_escapes(line))
    except (ValueError, RecursionError) as error:
        return BadRow(f"invalid JSON ({error or 'nested too deeply'})")


def _has_surrogate_escapes(text: str) -> bool:
    return _SURROGATE_ESCAPE.search(text) is not None


def _checked(item: Any, text: str, escapes: bool) -> Row | BadRow:
    """Return an item of a file if it is a row that can be written again. escapes: it may hold escaped surrogates."""
    if not isinstance(item, dict):
        return BadRow(f"not a JSON object: {text[:60]}")
    try:
        exact_json.check_depth(item)
    except ValueError as error:
        return BadRow(str(error))
    if escapes and exact_json.holds_surrogates(item):
        return BadRow("a lone surrogate (\\ud800 to \\udfff), which is no character")
    return item


def _list_items(text: str, file: TextIO) -> Iterator[Row | BadRow]:
    """Yield the items of a list whose text begins with `text` and goes on in `file`, holding one item in memory."""
    text, block = text.lstrip()[1:], _BLOCK
    while True:
        text = text.lstrip(", \t\r\n")
        if text.startswith("]"):
            if more := (text[1:] + file.read(block)).strip():
                raise ValueError(f"text after the end of the list: {more[:80]}")
            return
        try:
            item, end = _DECODER.raw_decode(text) if text else (None, 0)
            complete = bool(text) and end < len(text)  # a number at the very end may go on in the next block
        except ValueError:
            complete = False
        if complete:
            flaw = find_flaw(text[:end])
            yield BadRow(flaw) if flaw else _checked(item, text, _has_surrogate_escapes(text[:end]))
            text, block = text[end:], _BLOCK
            continue
        more = file.read(block)
        if not more:
            raise ValueError(f"the list ends early or has an error: {text[:80]}")
        text, block = text + more, 2 * block  # so that a long item is not parsed again and again


def _rows_of_object(text: str, path: Path) -> Iterable[Row | BadRow]:
    if flaw := find_flaw(text):
        raise ValueError(flaw)
    value = _DECODER.decode(text)
    lists = {key: items for key, items in value.items() if isinstance(items, list)} if isinstance(value, dict) else {}
    of_objects = [key for key, items in lists.items() if any(isinstance(item, dict) for item in items)]
    if len(of_objects) > 1:
        raise SdgError(
            f"{path}: has several lists of objects: {', '.join(of_objects)}. Write those that you want into one list, "
            "or one JSON object per line into a file named .jsonl."
        )
    if not of_objects and len(lists) != 1:
        raise SdgError(
            f"{path}: expected a list of objects, or an object with such a list under one of its keys. Write one JSON "
            "object per line and name the file .jsonl."
        )
    key = next(iter(of_objects or lists))
    escapes = _has_surrogate_escapes(text)
    return (_checked(item, f"an item of {key!r}", escapes) for item in lists[key])
