"""What a row holds: values of JSON, with numbers as they are written; and rows that cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sdg_helpers import exact_json
from sdg_helpers.errors import SdgError

Row = dict[str, Any]
_LISTED_BAD_ROWS = 20
_NOT_TEXT = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as the opened file gives them


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


def unmarked(value: Any) -> Any:
    """Return a copy of a value with plain numbers in place of Number."""
    if isinstance(value, Number):
        return value.value()
    if isinstance(value, list):
        return [unmarked(item) for item in value]
    if isinstance(value, dict):
        return {key: unmarked(item) for key, item in value.items()}
    return value


def find_flaw(text: str) -> str:
    """Return why a row cannot be text, or "": bytes of another encoding, or zeros."""
    if "\0" in text:
        return "NUL bytes, as a power cut leaves them; text in UTF-16 must begin with a byte order mark"
    if not text.isascii() and _NOT_TEXT.search(text):
        return "not UTF-8; convert the file, for example with `iconv -f LATIN1 -t UTF-8`"
    return ""
