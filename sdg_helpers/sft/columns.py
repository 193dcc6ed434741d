"""The types of exported keys, so that a file reads the same from its first row to its last, with any loader.

A loader that guesses types from the first megabytes fails on a key that is null there and a text later. So the card and
the Parquet files state the types found here. One guess no card can prevent: where all texts of some megabytes of JSONL
are dates, `datasets` reads "2024-01-02" as "2024-01-02 00:00:00". `dated` names the keys with that risk.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from sdg_helpers import exact_json

_INT64 = range(-(1 << 63), 1 << 63)
_EXACT_FLOATS = 1 << 53  # up to here a float holds every integer
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]|$)")
_MANY_DATES = 9  # dates for each other text; fewer, and a megabyte without another text is most unlikely
_STRINGS = pa.list_(pa.string())


class Columns:
    """Which kinds of values each key has, and the one type that fits them all."""

    def __init__(self) -> None:
        self._kinds: dict[str, Counter[str]] = defaultdict(Counter)

    def observe(self, key: str, value: Any) -> Any:
        """Note a value's kind; return the value."""
        self._kinds[key][_kind(value)] += 1
        return value

    def dated(self) -> list[str]:
        """Return the keys whose texts may all be dates within some megabytes: nearly all are, or many are null."""
        return [
            key
            for key, kinds in self._kinds.items()
            if kinds["date"] and (kinds["null"] or kinds["date"] > _MANY_DATES * kinds["string"])
        ]

    def types(self, keys: Sequence[str]) -> dict[str, pa.DataType]:
        """Return the type of each key: of its values if they agree, float64 for integers and floats, else string.

        Integers that a float would round do not go with floats: their key becomes string.
        """
        return {key: _TYPES.get(self._kinds_of(key), pa.string()) for key in keys}

    def converters(self, keys: Sequence[str]) -> dict[str, pa.DataType]:
        """Return the types of the keys whose values must be converted, because they are not all of this type."""
        same = {pa.string(): {"string"}, pa.float64(): {"float"}}
        return {
            key: kind for key, kind in self.types(keys).items() if kind in same and self._kinds_of(key) - same[kind]
        }

    def _kinds_of(self, key: str) -> frozenset[str]:
        return frozenset({"date": "string"}.get(kind, kind) for kind in self._kinds[key] if kind != "null")


_TYPES = {
    frozenset({"int"}): pa.int64(),
    frozenset({"long"}): pa.int64(),
    frozenset({"int", "long"}): pa.int64(),
    frozenset({"float"}): pa.float64(),
    frozenset({"int", "float"}): pa.float64(),
    frozenset({"bool"}): pa.bool_(),
    frozenset({"strings"}): _STRINGS,
}


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "date" if _DATE.match(value) else "string"
    if isinstance(value, list):
        return "strings" if all(isinstance(item, str) for item in value) else "other"
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if abs(value) <= _EXACT_FLOATS else "long" if value in _INT64 else "other"
    return {type(None): "null", bool: "bool", float: "float"}.get(type(value), "other")


def convert(line: bytes | memoryview, types: Mapping[str, pa.DataType]) -> bytes:
    """Return a row with the values of these keys converted: to floats, or to texts (JSON unless a text already)."""
    row = exact_json.loads(line)
    for key, kind in types.items():
        value = row[key]
        if value is not None and not isinstance(value, str):
            row[key] = float(value) if kind == pa.float64() else exact_json.dumps(value).decode()
    return exact_json.dumps(row, orjson.OPT_APPEND_NEWLINE)


def schema(keys: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the schema of a file with these keys."""
    return pa.schema([pa.field(key, kind) for key, kind in keys.items()])


def features(table: pa.Schema) -> list[dict[str, Any]]:
    """Return a schema as `dataset_info.features` has it in a card."""
    return [{"name": column.name, **_feature(column.type)} for column in table]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner.get("struct", inner.get("dtype"))}
    if pa.types.is_struct(kind):
        return {"struct": features(pa.schema(list(kind)))}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind))}
