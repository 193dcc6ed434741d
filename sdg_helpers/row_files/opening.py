"""Open a text file by its first bytes: compressed or not, and in which encoding."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_BLOCK = 1 << 20
_NO_TEXT = {b"PAR1": "a Parquet file", b"ARROW1": "an Arrow file", b"PK\x03\x04": "a zip archive or a spreadsheet"}


def open_text(path: Path) -> TextIO:
    """Open a text file by its byte order mark; UTF-8 without one. Bytes that are no text become lone surrogates.

    Raises ValueError, saying what it is, for a file that is no text, whatever its name.
    """
    with open(path, "rb") as file:
        start = file.read(16)
    if kind := next((kind for mark, kind in _NO_TEXT.items() if start.startswith(mark)), None):
        raise ValueError(f"by its first bytes it is {kind}")
    opener = _decompressor(start)
    buffered = io.BufferedReader(opener(path) if opener else io.FileIO(path), _BLOCK)
    utf16 = buffered.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
    encoding = "utf-16" if utf16 else "utf-8-sig"
    return io.TextIOWrapper(buffered, encoding=encoding, errors="strict" if utf16 else "surrogateescape", newline="")


def _decompressor(start: bytes) -> Callable[[Path], Any] | None:
    """Return what opens a file that begins with these bytes, None if it is not compressed."""
    import bz2
    import gzip
    import lzma

    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile
    if start.startswith(b"BZh") and start[4:10] == b"1AY&SY":
        return bz2.BZ2File
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile
    return _open_zstandard if start.startswith(b"\x28\xb5\x2f\xfd") else None


def _open_zstandard(path: Path) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
