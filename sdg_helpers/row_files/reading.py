"""Read the rows of a user's file, whatever its format, with the place of each row and without losing digits.

Formats: JSON Lines, JSON, CSV and TSV, Parquet, Arrow; the text ones also compressed (.gz, .bz2, .xz, .zst). A byte
order mark is ignored. Numbers in text files stay as they are written: 2.50 is read as Number("2.50").
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdg_helpers.errors import SdgError
from sdg_helpers.row_files.csv_rows import read_csv
from sdg_helpers.row_files.json_rows import read_json, read_json_lines
from sdg_helpers.row_files.opening import COMPRESSED, open_text
from sdg_helpers.row_files.table_rows import read_table
from sdg_helpers.row_files.values import BadRow, Row

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_SAME_AS = {".ndjson": ".jsonl", ".feather": ".arrow", ".pq": ".parquet"}


def find_format(name: str) -> str:
    """Return the suffix in a file's name that names its format, without a compression's; "" if it has none of them."""
    parts = name.lower().rpartition("/")[2].split(".")[1:]
    if parts and f".{parts[-1]}" in COMPRESSED:
        parts.pop()
    suffix = f".{parts[-1]}" if parts else ""
    found = _SAME_AS.get(suffix, suffix)
    return found if found in FORMATS else ""


def format_of(path: Path) -> str:
    """Return the suffix that names a file's format, without a compression's. Raises SdgError for an unknown one."""
    if found := find_format(path.name):
        return found
    raise SdgError(
        f"{path}: the file's format must be one of {', '.join(FORMATS)}, not {path.suffix or 'without a suffix'}. "
        f"Convert it, or give another file; text may be compressed ({', '.join(COMPRESSED)})."
    )


def read_rows(path: Path) -> Iterator[tuple[str, Row | BadRow]]:
    """Yield (place, row) for every row, reading lazily; the place is "line 7" or "row 7".

    Values are those of JSON: texts, Number or plain numbers, True, False, None, lists and objects. Binary columns are
    left out. A line that cannot be read is a BadRow. Raises SdgError for a file that cannot be read at all.
    """
    suffix = format_of(path)
    with _explain(path, suffix):
        if suffix in (".parquet", ".arrow"):
            yield from read_table(path, suffix)
            return
        with open_text(path) as file:
            if suffix == ".jsonl":
                yield from read_json_lines(file)
            elif suffix == ".json":
                yield from read_json(file, path)
            else:
                yield from read_csv(file, "\t" if suffix == ".tsv" else "")


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
