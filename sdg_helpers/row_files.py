"""Read the rows of a user's file, whatever its format, with the place of each row and without losing digits.

Formats: JSON Lines, JSON, CSV and TSV, Parquet, Arrow; the text ones also compressed (.gz). A byte order mark is
ignored. Numbers in text files stay as they are written: 2.50 is read as Number("2.50").
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from sdg_helpers import exact_json
from sdg_helpers.errors import SdgError

Row = dict[str, Any]
FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_BATCH_ROWS = 500
_BLOCK = 1 << 20
_MAX_CELL_BYTES = 1 << 26
_LISTS = ("data", "rows", "problems", "questions", "examples", "train", "test")  # keys of a JSON file's list of rows
_MAX_PLAIN_EXPONENT = 20
_LISTED_BAD_ROWS = 20
_NOT_TEXT = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as the opened file gives them
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class Number(str):
    """A number as its file writes it."""

    def value(self) -> int | float:
        """Return the number. Raises ValueError for one that is too long or too large."""
        return exact_json.read_integer(self) if re.fullmatch(r"-?\d+", self) else exact_json.read_float(self)


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read, and why."""

    reason: str


class BadRows:
    """The rows of a source that were skipped: how many, and the first ones with their place and reason."""

    def __init__(self, most: int):
        """most: rows that may be skipped; one more raises SdgError."""
        self._most = most
        self.count, self.listed = 0, list[str]()

    def skip(self, where: str, reason: str) -> None:
        """Count a row. Raises SdgError when there are too many."""
        self.count += 1
        if len(self.listed) < _LISTED_BAD_ROWS:
            self.listed.append(f"{where}: {reason}")
        if self.count > self._most:
            raise SdgError(
                f"{self.count} rows cannot be read, and at most {self._most} may be skipped. The first ones:\n  "
                + "\n  ".join(self.listed[:3])
                + "\nCorrect the file, say with COLUMNS what its columns are, or allow more with MAX_BAD_ROWS."
            )

    @property
    def first(self) -> str:
        """The first one as a sentence for a message, "" without one."""
        return f" First bad row: {self.listed[0]}." if self.listed else ""


def format_of(path: Path) -> str:
    """Return the suffix that names a file's format, without .gz. Raises SdgError for an unknown one."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = (suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes)[-1:]
    found = {".ndjson": ".jsonl"}.get(suffix[0], suffix[0]) if suffix else ""
    if found not in FORMATS:
        raise SdgError(
            f"{path}: the file's format must be one of {', '.join(FORMATS)}, not {found or 'without a suffix'}. "
            "Convert it, or give another file."
        )
    return found


def read_rows(path: Path) -> Iterator[tuple[str, Row | BadRow]]:
    """Yield (place, row) for every row, reading lazily; the place is "line 7" or "row 7".

    Values are those of JSON: texts, Number or plain numbers, True, False, None, lists and objects. Binary columns are
    left out. A line that cannot be read is a BadRow. Raises SdgError for a file that cannot be read at all.
    """
    suffix = format_of(path)
    with _explain(path, suffix):
        if suffix in (".parquet", ".arrow"):
            yield from _numbered("row", map(plain_row, _table_rows(path, suffix)))
            return
        with _open_text(path) as file:
            if suffix == ".jsonl":
                yield from _json_lines(file)
            elif suffix == ".json":
                yield from _json_rows(file, path)
            else:
                yield from _csv_rows(file, "\t" if suffix == ".tsv" else "")


def unmarked(value: Any) -> Any:
    """Return a copy of a value with plain numbers in place of Number."""
    if isinstance(value, Number):
        return value.value()
    if isinstance(value, list):
        return [unmarked(item) for item in value]
    if isinstance(value, dict):
        return {key: unmarked(item) for key, item in value.items()}
    return value


@contextmanager
def _explain(path: Path, suffix: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (OSError, EOFError, pyarrow.ArrowException, csv.Error, ValueError, RecursionError) as error:
        raise SdgError(
            f"{path}: cannot be read as {suffix} ({type(error).__name__}: {error}). Correct the path or the "
            "file, or convert it to another format."
        ) from None


def _open_text(path: Path) -> TextIO:
    """Open a text file by its byte order mark; UTF-8 without one. Bytes that are no text become lone surrogates."""
    opened: Any = gzip.GzipFile(path) if path.suffix.lower() == ".gz" else io.FileIO(path)
    buffered = io.BufferedReader(opened, _BLOCK)
    utf16 = buffered.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
    encoding = "utf-16" if utf16 else "utf-8-sig"
    return io.TextIOWrapper(buffered, encoding=encoding, errors="strict" if utf16 else "surrogateescape", newline="")


def _numbered(what: str, rows: Iterable[Row | BadRow]) -> Iterator[tuple[str, Row | BadRow]]:
    return ((f"{what} {number}", row) for number, row in enumerate(rows, 1))


# -- JSON --------------------------------------------------------------------------------------------------------------

_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=lambda name: None)


def _json_lines(lines: Iterable[str]) -> Iterator[tuple[str, Row | BadRow]]:
    for number, line in enumerate(lines, 1):
        if line and not line.isspace():
            yield f"line {number}", _parse_line(line.strip())


def _parse_line(line: str) -> Row | BadRow:
    if flaw := _flaw(line):
        return BadRow(flaw)
    try:
        return _checked(_DECODER.decode(line), line, _has_surrogate_escapes(line))
    except (ValueError, RecursionError) as error:
        return BadRow(f"invalid JSON ({error or 'nested too deeply'})")


def _flaw(text: str) -> str:
    """Return why a row's text is none, or "": bytes of another encoding, or zeros."""
    if "\0" in text:
        return "NUL bytes, as a power cut leaves them; text in UTF-16 must begin with a byte order mark"
    return "not UTF-8" if not text.isascii() and _NOT_TEXT.search(text) else ""


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


def _json_rows(file: TextIO, path: Path) -> Iterator[tuple[str, Row | BadRow]]:
    """Read a list of objects an object at a time; an object that holds such a list; or JSON Lines with this suffix."""
    first = file.readline()
    while first and first.isspace():
        first = file.readline()
    if first.lstrip().startswith("["):
        yield from _numbered("row", _list_items(first, file))
    elif isinstance(_parse_line(first.strip()), dict) and (second := file.readline()):
        yield from _json_lines(line for part in ((first, second), file) for line in part)
    else:
        yield from _numbered("row", _rows_of_object((first + file.read()).strip(), path))


def _list_items(text: str, file: TextIO) -> Iterator[Row | BadRow]:
    """Yield the items of a list whose text begins with `text` and goes on in `file`, holding one item in memory."""
    text, block = text.lstrip()[1:], _BLOCK
    while True:
        text = text.lstrip(", \t\r\n")
        if text.startswith("]"):
            return
        try:
            item, end = _DECODER.raw_decode(text) if text else (None, 0)
            complete = bool(text) and end < len(text)  # a number at the very end may go on in the next block
        except ValueError:
            complete = False
        if complete:
            flaw = _flaw(text[:end])
            yield BadRow(flaw) if flaw else _checked(item, text, _has_surrogate_escapes(text[:end]))
            text, block = text[end:], _BLOCK
            continue
        more = file.read(block)
        if not more:
            raise ValueError(f"the list ends early or has an error: {text[:80]}")
        text, block = text + more, 2 * block  # so that a long item is not parsed again and again


def _rows_of_object(text: str, path: Path) -> Iterable[Row | BadRow]:
    if flaw := _flaw(text):
        raise ValueError(flaw)
    value = _DECODER.decode(text)
    lists = {key: items for key, items in value.items() if isinstance(items, list)} if isinstance(value, dict) else {}
    key = next((key for key in _LISTS if key in lists), next(iter(lists)) if len(lists) == 1 else None)
    if key is None:
        raise SdgError(
            f"{path}: expected a list of objects, or an object with such a list under the key {_LISTS[0]!r}. Write one "
            "JSON object per line and name the file .jsonl."
        )
    escapes = _has_surrogate_escapes(text)
    return (_checked(item, f"an item of {key!r}", escapes) for item in lists[key])


# -- CSV ---------------------------------------------------------------------------------------------------------------


def _csv_rows(file: TextIO, delimiter: str) -> Iterator[tuple[str, Row | BadRow]]:
    csv.field_size_limit(_MAX_CELL_BYTES)
    header = file.readline()
    if flaw := _flaw(header):
        raise ValueError(f"its header: {flaw}")
    delimiter = delimiter or max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    reader = csv.reader(file, delimiter=delimiter)
    while True:
        start = reader.line_num + 2
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {start}", BadRow(str(error))
            continue
        if not cells:
            continue
        row = dict(zip(names, cells, strict=False))
        flaw = _flaw("".join(cells))
        if len(cells) != len(names):
            flaw = f"{len(cells)} cells, but the header has {len(names)}"
        yield f"line {start}", BadRow(flaw) if flaw else row


# -- tables ------------------------------------------------------------------------------------------------------------


def _table_rows(path: Path, suffix: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if suffix == ".parquet":
        batches = parquet.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
    else:
        batches = _arrow_batches(path)
    for batch in batches:
        kept = [field.name for field in batch.schema if not (pa.types.is_binary(field.type) or _is_image(field.type))]
        yield from batch.select(kept).to_pylist()


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


def plain_row(row: Row) -> Row:
    """Return a table's row with JSON values: dates as text; NaN, infinities and bytes as None."""
    return {str(key): _plain(value) for key, value in row.items()}


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
