"""Shuffle rows into an order that depends only on their keys, without holding them in memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import numpy as np

from sdg_helpers.errors import SdgError

KEY_BYTES = 16
_RECORD = struct.Struct(f">{KEY_BYTES}sQI")
_MAX_PIECES = 512  # of one write; the system takes 1024


class ShuffledRows:
    """Collect (key, line) pairs in a spill file and yield the lines in the order of their keys.

    Keys are 16 bytes, evenly distributed (a hash). Their leading bits choose a bucket; each flush of the buffer writes
    its buckets one after another, so reading a bucket back takes one read per flush. The order does not depend on the
    number of buckets.
    """

    def __init__(
        self, path: Path | str, expected_bytes: int, bucket_bytes: int = 48 << 20, buffer_bytes: int = 48 << 20
    ):
        """expected_bytes: roughly how much will be added; it sets the number of buckets (at most 1024)."""
        self.path, self.rows = Path(path), 0
        self._buckets = max(1, min(1024, -(-expected_bytes // bucket_bytes)))
        self._buffer: list[list[bytes]] = [[] for _ in range(self._buckets)]
        self._buffer_bytes, self._buffered = buffer_bytes, 0
        self._pieces: list[np.ndarray] = []  # per flush: offsets of each bucket's piece, and the end of the last
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._bucket = bytearray()  # the one that is read, in memory that all of them share

    def add(self, key: bytes, line: bytes, note: int = 0) -> None:
        """Add one line under its key. The note (64 bits) is returned with it."""
        bucket = int.from_bytes(key[:8], "big") * self._buckets >> 64
        self._buffer[bucket] += (_RECORD.pack(key, note, len(line)), line)
        self.rows += 1
        self._buffered += len(line)
        if self._buffered >= self._buffer_bytes:
            self._flush()

    def __iter__(self) -> Iterator[tuple[memoryview, int, bool]]:
        """Yield (line, note, whether its key is a repeat) in key order, equal keys in order of adding.

        A line is valid until the next one is asked for.
        """
        self._flush()
        for bucket in range(self._buckets):
            last = b""
            for key, note, line in sorted(self._records(bucket), key=itemgetter(0)):
                yield line, note, key == last
                last = key

    def close(self) -> None:
        """Remove the spill file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> ShuffledRows:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _flush(self) -> None:
        """Write the buffer to the spill file, bucket after bucket."""
        ends = np.cumsum([0, *(sum(map(len, bucket)) for bucket in self._buffer)], dtype=np.int64)
        start = self._pieces[-1][-1] if self._pieces else 0
        try:
            for bucket in self._buffer:
                _write(self._handle, bucket)
        except OSError as error:
            raise SdgError(
                f"{self.path}: cannot write ({error.strerror}). While it shuffles, this stage needs disk space for "
                "two copies of its rows: free some, then run again."
            ) from error
        self._pieces.append(start + ends)
        self._buffer = [[] for _ in range(self._buckets)]
        self._buffered = 0

    def _records(self, bucket: int) -> Iterator[tuple[bytes, int, memoryview]]:
        """Read one bucket into memory and yield (key, note, line) in the order of adding."""
        total = sum(int(piece[bucket + 1] - piece[bucket]) for piece in self._pieces)
        if len(self._bucket) < total:
            self._bucket = bytearray(total + total // 8)
        view, filled = memoryview(self._bucket)[:total], 0
        for piece in self._pieces:
            start, end = int(piece[bucket]), int(piece[bucket + 1])
            while start < end:
                size = os.preadv(self._handle, [view[filled : filled + end - start]], start)
                if not size:
                    raise SdgError(f"{self.path}: something else cut this file while it was used. Run again.")
                start, filled = start + size, filled + size
        position = 0
        while position < total:
            key, note, size = _RECORD.unpack_from(view, position)
            position += _RECORD.size
            yield key, note, view[position : position + size]
            position += size


def _write(handle: int, pieces: list[bytes]) -> None:
    """Append pieces to a file without joining them."""
    for start in range(0, len(pieces), _MAX_PIECES):
        some = pieces[start : start + _MAX_PIECES]
        written, size = os.writev(handle, some), sum(map(len, some))
        if written < size:
            rest = memoryview(b"".join(some))[written:]
            while rest:
                rest = rest[os.write(handle, rest) :]
