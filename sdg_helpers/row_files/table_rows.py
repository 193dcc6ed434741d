"""Rows of Parquet and Arrow files, with the values of JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from sdg_helpers.row_files.values import Number, Row

_BATCH_ROWS = 500
_MAX_PLAIN_EXPONENT = 20


def read_table(path: Path, suffix: str) -> Iterator[tuple[str, Row]]:
    """Yield ("row 7", row) for every row, without binary columns and images. suffix: .parquet or .arrow."""
    for number, row in enumerate(_rows(path, suffix), 1):
        yield f"row {number}", plain_row(row)


def plain_row(row: Row) -> Row:
    """Return a table's row with JSON values: dates as text; NaN, infinities and bytes as None."""
    return {str(key): _plain(value) for key, value in row.items()}


def _rows(path: Path, suffix: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if suffix == ".parquet":
        batches = parquet.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
    else:
        batches = _arrow_batches(path)
    for batch in batches:
        if repeated := [name for name, count in Counter(batch.schema.names).items() if count > 1]:
            raise ValueError(f"it has the column {repeated[0]!r} twice")
        kept = [field.name for field in batch.schema if not (pa.types.is_binary(field.type) or _is_image(field.type))]
        short = {name: _shorten(batch.column(name).to_pylist(), batch.schema.field(name).type) for name in kept}
        yield from (dict(zip(kept, values, strict=True)) for values in zip(*short.values(), strict=True))


def _arrow_batches(path: Path) -> Iterator[Any]:
    """Yield the batches of an Arrow file or, as `datasets` writes them, stream."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        try:
            table = pa.ipc.open_file(file)
            batches: Iterable[Any] = (table.get_batch(number) for number in range(table.num_record_batches))
        except pa.ArrowInvalid:
            file.seek(0)
            batches = pa.ipc.open_stream(file)
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS)


def _is_image(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(kind) and any(pa.types.is_binary(field.type) for field in kind)


def _shorten(values: list[Any], kind: Any) -> list[Any]:
    """Return values with their shortest digits where they have less than 64 bits: 0.1, not 0.10000000149011612."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        narrow = np.dtype(kind.to_pandas_dtype()).type
        return [None if value is None else float(str(narrow(value))) for value in values]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [None if value is None else _shorten(value, kind.value_type) for value in values]
    if pa.types.is_struct(kind):
        return [
            value and {field.name: _shorten([value[field.name]], field.type)[0] for field in kind} for value in values
        ]
    return values


def _plain(value: Any) -> Any:
    """Return the JSON form of a table's value; a number as people write it, without an exponent."""
    if isinstance(value, float):
        return _written(value) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return Number(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, (str, bool, int)) else str(value)


def _written(value: float) -> Number:
    exact = Decimal(repr(value))
    return Number(f"{exact:f}" if abs(exact.adjusted()) <= _MAX_PLAIN_EXPONENT else repr(value))
