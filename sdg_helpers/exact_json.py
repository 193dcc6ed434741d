"""JSON that keeps integers of any size.

orjson reads an integer of more than 64 bits as a float and refuses to write one. Here such a value takes a second, slow
pass; all others cost what they cost orjson.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import orjson

from sdg_helpers.errors import SdgError

MAX_DEPTH = 250  # orjson writes no more than 254 levels
MAX_DIGITS = 4300  # Python converts no longer integers
_BIG = float(1 << 63)  # every integer that orjson reads as a float is at least as large
_INT64 = range(-(1 << 63), 1 << 64)  # what orjson writes
_PLAIN = frozenset((str, int, bool, type(None)))
_LONG_NUMBER = re.compile(rb"\d{300}")  # beyond the largest float, where orjson refuses integers too
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


def loads(data: bytes | memoryview) -> Any:
    """Parse JSON, with integers as they are written.

    Raises ValueError, saying why, for anything else than JSON (NaN and lone surrogates are none), for nesting deeper
    than MAX_DEPTH, for an integer of more than MAX_DIGITS digits, and for a float beyond the largest one.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        if not _LONG_NUMBER.search(data):
            raise
        return _parse_exactly(data)
    if type(value) is dict and _PLAIN.issuperset(map(type, value.values())):  # most rows, and at the speed of C
        return value
    return _parse_exactly(data) if _has_large_float((value,), MAX_DEPTH) else value


def check_depth(value: Any, depth: int = MAX_DEPTH) -> None:
    """Raise ValueError for a JSON value that is nested too deeply to be written."""
    if isinstance(value, (dict, list)):
        if not depth:
            raise ValueError(_TOO_DEEP)
        for item in value.values() if isinstance(value, dict) else value:
            check_depth(item, depth - 1)


def holds_surrogates(value: Any) -> bool:
    """Return whether a JSON value has a lone surrogate, which is no character, in a text or a key."""
    return bool(replace_lone_surrogates(value) != value)


def dumps(value: Any, option: int = 0, default: Callable[[Any], Any] | None = None) -> bytes:
    """Serialise a value; the arguments are orjson's. Lone surrogates (from broken input) become U+FFFD."""
    try:
        return orjson.dumps(value, default, option)
    except TypeError:
        return orjson.dumps(_writable(value, MAX_DEPTH), default, option | orjson.OPT_NON_STR_KEYS)


def replace_lone_surrogates(value: Any) -> Any:
    """Return a copy of a JSON value with every lone surrogate replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, (list, tuple)):
        return [replace_lone_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {replace_lone_surrogates(key): replace_lone_surrogates(item) for key, item in value.items()}
    return value


def read_integer(digits: str) -> int:
    """Convert an integer as JSON writes it. Raises ValueError for one that is too long."""
    length = len(digits.lstrip("-"))
    if length > MAX_DIGITS:
        raise ValueError(f"an integer of {length:,} digits; at most {MAX_DIGITS:,} can be read")
    return int(digits)


def read_float(text: str) -> float:
    """Convert a number with a point or an exponent. Raises ValueError for one beyond the largest float."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:40]} is too large for a float")
    return value


def explain(data: bytes, error: Exception) -> str:
    """Return why `data` cannot be parsed, with the remedy where it is the encoding or zeros."""
    if data.startswith(_BYTE_ORDER_MARKS) or (data[:1].strip(b"\0") and data[1:8:2] == bytes(4)):
        return "UTF-16 text; convert the file with `iconv -f UTF-16 -t UTF-8`"
    if b"\0" in data:
        return f"{data.count(0):,} NUL bytes, as a power cut or a failing disk leaves them; restore the file"
    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        return f"not UTF-8 at byte {wrong.start}; convert the file, for example with `iconv -f LATIN1 -t UTF-8`"
    return f"invalid JSON ({error})"


def _has_large_float(values: Iterable[Any], depth: int) -> bool:
    """Return whether a float is so large that it may have been an integer. Raises ValueError below `depth` levels."""
    for value in values:
        kind = type(value)
        if kind is str or kind is int:
            continue
        if kind is float:
            if not -_BIG < value < _BIG:
                return True
        elif kind is dict or kind is list:
            if not depth:
                raise ValueError(_TOO_DEEP)
            if _has_large_float(value.values() if kind is dict else value, depth - 1):
                return True
    return False


def _parse_exactly(data: bytes | memoryview) -> Any:
    try:
        value = _DECODER.decode(bytes(data).decode())
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    check_depth(value)
    if holds_surrogates(value):
        raise ValueError("lone surrogate")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_int=read_integer, parse_float=read_float, parse_constant=_refuse_constant)


def _writable(value: Any, depth: int) -> Any:
    """Return a copy that orjson writes, apart from values that are not JSON at all."""
    if isinstance(value, str):
        return replace_lone_surrogates(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in _INT64 else orjson.Fragment(str(value).encode())
    if not isinstance(value, (dict, list, tuple)):
        return value
    if not depth:
        raise SdgError(f"cannot write a value that is {_TOO_DEEP}. Flatten it, then run again.")
    if isinstance(value, dict):
        return {replace_lone_surrogates(key): _writable(item, depth - 1) for key, item in value.items()}
    return [_writable(item, depth - 1) for item in value]
