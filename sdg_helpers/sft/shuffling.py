"""Shuffle rows into an order that depends only on their keys, without holding them in memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from sdg_helpers.errors import SdgError
from sdg_helpers.file_pool import FilePool

KEY_BYTES = 16
_RECORD = struct.Struct(f">{KEY_BYTES}sQIIIQIQ")
_MAX_PIECES = 512  # of one write; the system takes 1024
_AHEAD = 32  # lines whose excerpts the system is asked for in advance


class Excerpt(NamedTuple):
    """Bytes of a source file that are part of a line. source: the file's number; checksum: xxh3 of the bytes."""

    source: int
    offset: int
    length: int
    checksum: int

    @classmethod
    def of(cls, data: bytes, source: int, offset: int) -> Excerpt:
        """The excerpt with these bytes."""
        return cls(source, offset, len(data), xxhash.xxh3_64_intdigest(data))


_NOTHING = Excerpt(0, 0, 0, 0)


class _Record(NamedTuple):
    key: bytes
    note: int
    excerpt: Excerpt
    before: memoryview
    after: memoryview


class ShuffledRows:
    """Collect (key, line) pairs in a spill file and yield the lines in the order of their keys.

    Keys are 16 bytes, evenly distributed (a hash). Their leading bits choose a bucket; each flush of the buffer writes
    its buckets one after another, so reading a bucket back takes one read per flush. The order does not depend on the
    number of buckets. Of a long part that a line has in common with a file, the spill file has only the place: such
    excerpts are read when the line is yielded.
    """

    def __init__(
        self,
        path: Path | str,
        expected_bytes: int,
        bucket_bytes: int = 48 << 20,
        buffer_bytes: int = 48 << 20,
        *,
        sources: Sequence[Path] = (),
    ):
        """expected_bytes: roughly how much will be added; it sets the number of buckets (at most 1024). sources: the
        files that excerpts are of."""
        self.path, self.rows = Path(path), 0
        self._buckets = max(1, min(1024, -(-expected_bytes // bucket_bytes)))
        self._buffer: list[list[bytes]] = [[] for _ in range(self._buckets)]
        self._buffer_bytes, self._buffered = buffer_bytes, 0
        self._pieces: list[np.ndarray] = []  # per flush: offsets of each bucket's piece, and the end of the last
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._bucket = bytearray()  # the one that is read, in memory that all of them share
        self._sources = FilePool(sources)

    def add(self, key: bytes, line: bytes, note: int = 0, excerpt: Excerpt = _NOTHING, after: bytes = b"") -> None:
        """Add one line under its key: `line`, the excerpt, `after`. The note (64 bits) is returned with it."""
        bucket = int.from_bytes(key[:8], "big") * self._buckets >> 64
        record = _RECORD.pack(key, note, len(line), len(after), *excerpt)
        self._buffer[bucket] += (record, line, after)
        self.rows += 1
        self._buffered += len(record) + len(line) + len(after)
        if self._buffered >= self._buffer_bytes:
            self._flush()

    def __iter__(self) -> Iterator[tuple[bytes, int, bool]]:
        """Yield (line, note, whether its key is a repeat) in key order, equal keys in order of adding.

        Raises SdgError when an excerpt is no longer what it was.
        """
        self._flush()
        for bucket in range(self._buckets):
            records, last = sorted(self._records(bucket), key=itemgetter(0)), b""
            for number, (key, note, excerpt, before, after) in enumerate(records):
                if number + _AHEAD < len(records):
                    ahead = records[number + _AHEAD].excerpt
                    self._sources.will_read(ahead.source, ahead.offset, ahead.length)
                yield b"".join((before, self._read(excerpt), after)), note, key == last
                last = key

    def _read(self, excerpt: Excerpt) -> bytes:
        if not excerpt.length:
            return b""
        found = self._sources.read(excerpt.source, excerpt.offset, excerpt.length)
        if xxhash.xxh3_64_intdigest(found) != excerpt.checksum:
            raise SdgError(
                f"{self._sources.paths[excerpt.source]}: something else changed this file while it was used. Run again."
            )
        return found

    def close(self) -> None:
        """Close the sources, and remove the spill file."""
        self._sources.close()
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
                f"{self.path}: cannot write ({error.strerror}). Besides its rows, this stage needs disk space for a "
                "copy of all but their thinking: free some, then run again."
            ) from error
        self._pieces.append(start + ends)
        self._buffer = [[] for _ in range(self._buckets)]
        self._buffered = 0

    def _records(self, bucket: int) -> Iterator[_Record]:
        """Read one bucket into memory and yield its records in the order of adding."""
        view, position = self._read_bucket(bucket), 0
        while position < len(view):
            key, note, before, after, *excerpt = _RECORD.unpack_from(view, position)
            start = position + _RECORD.size
            middle, position = start + before, start + before + after
            yield _Record(key, note, Excerpt(*excerpt), view[start:middle], view[middle:position])

    def _read_bucket(self, bucket: int) -> memoryview:
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
        return view


def _write(handle: int, pieces: list[bytes]) -> None:
    """Append pieces to a file without joining them."""
    for start in range(0, len(pieces), _MAX_PIECES):
        some = pieces[start : start + _MAX_PIECES]
        written, size = os.writev(handle, some), sum(map(len, some))
        if written < size:
            rest = memoryview(b"".join(some))[written:]
            while rest:
                rest = rest[os.write(handle, rest) :]
