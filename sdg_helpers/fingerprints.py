"""Fingerprints of files: computed while a file is written, so that nobody reads it again to know what it holds.

The hash is xxh3; versions up to 0.1 wrote blake2b, which is still compared where a record has nothing else. Of a JSONL
file the hash of every row is kept too: `runs/repair.py` finds the intact rows of a damaged file with them.
"""

from __future__ import annotations

import hashlib
import os
import sys
from array import array
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Buffer

BLOCK = 1 << 20
_MAX_REMEMBERED = 1000
_HASHES = ("xxh3", "blake2b")  # that a record may have


class Recorder:
    """Hash bytes that are written or read in order. by_row: count and hash the lines too (8 bytes of memory each)."""

    def __init__(self, by_row: bool = False):
        self.bytes = 0
        self.row_hashes: array[int] | None = array("Q") if by_row else None
        self._content, self._row = xxhash.xxh3_64(), xxhash.xxh3_64()

    def update(self, data: Buffer) -> None:
        """Add the next bytes."""
        view = memoryview(data)
        self.bytes += len(view)
        self._content.update(view)
        if self.row_hashes is not None:
            self._add_rows(bytes(view), self.row_hashes)

    def watch(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yield lines, adding each."""
        for line in lines:
            self.update(line)
            yield line

    def _add_rows(self, block: bytes, hashes: array[int]) -> None:
        view, start = memoryview(block), 0
        while end := block.find(b"\n", start) + 1:
            self._row.update(view[start:end])
            hashes.append(self._row.intdigest())
            self._row.reset()
            start = end
        self._row.update(view[start:])

    def fingerprint(self, status: os.stat_result) -> dict[str, Any]:
        """Return {"bytes", "mtime_ns", "xxh3"} and, of a JSONL file, "rows". status: of the file."""
        return {
            "bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "xxh3": self._content.hexdigest(),
            **({} if self.row_hashes is None else {"rows": len(self.row_hashes)}),
        }


_written: dict[str, tuple[tuple[int, int, int], Recorder]] = {}  # real path -> its identity and what was written


def remember_written(path: Path, recorder: Recorder) -> None:
    """Keep what was hashed while this process wrote `path`, for `fingerprint_output`."""
    with suppress(FileNotFoundError):
        _remember(os.path.realpath(path), path.stat(), recorder)


def _remember(name: str, status: os.stat_result, recorder: Recorder) -> None:
    _written.pop(name, None)
    if recorder.bytes == status.st_size:  # otherwise something was written out of order
        _written[name] = _identity(status), recorder
    while len(_written) > _MAX_REMEMBERED:
        _written.pop(next(iter(_written)))


def remember_renamed(path: Path, target: Path) -> None:
    """Keep what was hashed while this process wrote `path`, now that it is called `target`."""
    if known := _written.pop(os.path.realpath(path), None):
        _written[os.path.realpath(target)] = known


def fingerprint_output(path: Path) -> tuple[dict[str, Any], array[int] | None]:
    """Return a file's fingerprint and, of a JSONL file, the hash of each row. Reads only what others have written."""
    known = _written.pop(os.path.realpath(path), None)
    if known is not None and known[0] == _identity(path.stat()):
        return known[1].fingerprint(path.stat()), known[1].row_hashes
    recorder = Recorder(by_row=path.suffix == ".jsonl")
    status = _read(path, recorder)
    return recorder.fingerprint(status), recorder.row_hashes


def fingerprint(path: Path | str) -> dict[str, Any]:
    """Return {"bytes", "mtime_ns", "xxh3"} of a file, reading it once."""
    recorder = Recorder()
    return recorder.fingerprint(_read(path, recorder))


def size_and_time(path: Path) -> dict[str, Any]:
    """Return {"bytes", "mtime_ns"}: what is known of a file before it is read."""
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _read(path: Path | str, recorder: Recorder) -> os.stat_result:
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            recorder.update(block)
        return os.fstat(file.fileno())


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


class Check:
    """Compare bytes that are read in order with a recorded fingerprint, by the fastest hash that it has."""

    def __init__(self, known: Mapping[str, Any]):
        self._expected = known.get("xxh3") or known.get("blake2b")
        self._hash = xxhash.xxh3_64() if known.get("xxh3") else hashlib.blake2b(digest_size=16)
        self.update = self._hash.update

    def passes(self) -> bool:
        """Return whether the bytes are the recorded ones, as far as the record says: an old one may have no hash."""
        return self._expected is None or self._hash.hexdigest() == self._expected


def has_hash(known: Mapping[str, Any]) -> bool:
    """Return whether a fingerprint says what a file holds, and not only how long it is."""
    return any(known.get(name) for name in _HASHES)


def same_hash(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool | None:
    """Return whether two fingerprints have the same hash; None if they have no kind of hash in common."""
    common = [name for name in _HASHES if one.get(name) and other.get(name)]
    return bool(one[common[0]] == other[common[0]]) if common else None


def same_content(one: Mapping[str, Any], other: Mapping[str, Any], path: Path) -> bool:
    """Return whether two fingerprints are of the same content, as far as both say.

    path: the file that `other` is of. It is read if the two have no hash in common, which happens where an earlier
    version wrote `one`.
    """
    if not (has_hash(one) and has_hash(other)):
        return True
    same = same_hash(one, other)
    return has_content(path, one) if same is None else same


def has_content(path: Path, known: Mapping[str, Any]) -> bool:
    """Return whether a file has the recorded content. Reads it; where the record has no hash, the size must do."""
    check = Check(known)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            check.update(block)
    return check.passes()


def write_hashes(hashes: array[int]) -> bytes:
    """Return row hashes as bytes, 8 a row, little-endian."""
    ordered = hashes if sys.byteorder == "little" else array("Q", hashes)
    if ordered is not hashes:
        ordered.byteswap()
    return ordered.tobytes()


def read_hashes(data: bytes) -> array[int]:
    """Return what `write_hashes` was given; incomplete last bytes are ignored."""
    hashes = array("Q")
    hashes.frombytes(data[: len(data) // 8 * 8])
    if sys.byteorder != "little":
        hashes.byteswap()
    return hashes


def row_hash(line: bytes) -> int:
    """Return the hash of one line, newline included."""
    return int(xxhash.xxh3_64_intdigest(line))
