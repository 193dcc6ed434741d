"""Rows of CSV and TSV files."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import TextIO

from sdg_helpers.row_files.values import BadRow, Row, find_flaw

_MAX_CELL_BYTES = 1 << 26
_DELIMITERS = ",;\t|"
_NAMED_DELIMITER = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # the first line that Excel writes


def read_csv(file: TextIO, delimiter: str = "") -> Iterator[tuple[str, Row | BadRow]]:
    """Yield ("line 7", row) for every row below the header. delimiter: "" to find it in the header.

    Raises ValueError for a header that cannot be used, and for a quote that is never closed.
    """
    csv.field_size_limit(_MAX_CELL_BYTES)
    above, header = 0, file.readline()
    while header and (header.isspace() or (named := _NAMED_DELIMITER.fullmatch(header))):
        delimiter = delimiter if header.isspace() or not named else named[1]
        above, header = above + 1, file.readline()
    if flaw := find_flaw(header):
        raise ValueError(f"its header: {flaw}")
    reader = csv.reader(chain([header], file), delimiter=delimiter or max(_DELIMITERS, key=header.count), strict=True)
    names = [name.strip() for name in next(reader, [])]
    if repeated := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
        raise ValueError(f"its header has the column {repeated[0]!r} twice")
    while True:
        before = reader.line_num
        place = f"line {above + before + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error) == "unexpected end of data":
                raise ValueError(f"{place}: a quote is opened and never closed") from None
            lines = reader.line_num - before
            yield place, BadRow(f"{error}" + (f", in a row of {lines} lines" if lines > 1 else ""))
            continue
        if cells:
            yield place, _row(names, cells)


def _row(names: list[str], cells: list[str]) -> Row | BadRow:
    if flaw := find_flaw("".join(cells)):
        return BadRow(flaw)
    if len(cells) != len(names):
        return BadRow(f"{len(cells)} cells, but the header has {len(names)}")
    return {name: cell for name, cell in zip(names, cells, strict=True) if name}
