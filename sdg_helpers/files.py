"""Files that survive a kill or a full disk: append-only JSONL, atomic replacement."""

from __future__ import annotations

import codecs
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from sdg_helpers import exact_json
from sdg_helpers.errors import SdgError, UnreadableRow
from sdg_helpers.fingerprints import Recorder, remember_written
from sdg_helpers.temporary_files import temporary_path

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BLOCK = 1 << 20
_TAIL_BYTES = 1 << 16
_RELEASE_BYTES = 8 << 20  # of a file that is not cached: how often the system learns of it
_WINDOW_BYTES = 64 << 20  # how long writing to the disk may take


def content_id(*parts: str) -> str:
    """Hash texts into an id of 16 hex digits. Ids depend on content alone, never on line numbers."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def dumps(row: Any) -> bytes:
    """Serialise a row as one JSONL line, newline included. Lone surrogates (from broken input) become U+FFFD."""
    return exact_json.dumps(row, orjson.OPT_APPEND_NEWLINE)


def read_jsonl(path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file, skipping blank lines.

    Raises SdgError, with file and line number, for a missing file and for a line that is not a JSON object.
    """
    yield from parse_rows(open_rows(path), path)


def parse_rows(lines: Iterable[bytes], path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the rows in the lines of a JSONL file, as `read_jsonl` does. path: for errors."""
    for number, line in enumerate(lines, 1):
        if not line.isspace():
            yield parse_row(line, path, number)


def head(path: Path | str, count: int) -> list[dict[str, Any]]:
    """Return the first `count` rows of a JSONL file, or all of a shorter one; the rest of the file is not read."""
    return list(islice(read_jsonl(path), count))


def read_log(path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the rows of an AppendLog's file, without a torn last line; a missing file counts as empty."""
    if Path(path).exists():
        with open(path, "rb", buffering=_BLOCK) as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield parse_row(line, path, number)


def parse_row(line: bytes, path: Path | str, number: int) -> dict[str, Any]:
    """Parse one line as a JSON object. Raises UnreadableRow naming `path` and line `number` (from 1)."""
    try:
        row = exact_json.loads(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
    except ValueError as error:
        raise UnreadableRow(
            f"{path}, line {number}: {exact_json.explain(line, error)}: {_excerpt(line)}. Fix or remove this line, "
            "then run again."
        ) from None
    if not isinstance(row, dict):
        raise UnreadableRow(
            f"{path}, line {number}: expected a JSON object ({{...}}), found {type(row).__name__} {_excerpt(line)}. "
            "Fix or remove this line, then run again."
        )
    return row


def open_rows(path: Path | str, buffering: int = -1) -> BinaryIO:
    """Open a file of rows to read its lines. Raises SdgError, with what to do, when it cannot be read."""
    try:
        return open(path, "rb", buffering)
    except FileNotFoundError:
        raise SdgError(f"{path}: no such file. Run the stage that writes it, or correct the path.") from None
    except OSError as error:
        raise SdgError(f"{path}: cannot be read: {error.strerror}. Correct the path or its permissions.") from None


def _excerpt(line: bytes) -> str:
    text = line[:80].decode("utf-8", "replace").rstrip("\n")
    return repr(text + ("…" if len(line) > 80 else ""))


@contextmanager
def atomic_writer(path: Path | str, *, sync: bool = True, cached: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file that appears at `path` complete or not at all (temporary name, fsync, rename).

    sync: wait for the disk; False for what nobody misses after a power cut. cached: False for a large file that is not
    read soon: the system need not keep it in memory. Raises SdgError when this file cannot be written; other exceptions
    from the body propagate unchanged.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = str(temporary_path(path))
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        raw = _Raw(handle, path, cached)
        with io.BufferedWriter(raw, _BLOCK) as file:
            yield file
            file.flush()
            if sync:
                with disk_errors(path):
                    os.fsync(handle)
        with disk_errors(path):
            os.chmod(name, 0o666 & ~umask())
            os.replace(name, path)
        remember_written(path, raw.recorder)
    except BaseException:
        _remove(name)
        raise


class _Raw(io.FileIO):
    """An open file whose write errors name `path`, so that OSErrors from elsewhere in the body are not blamed on it.

    It hashes what is written. cached: see atomic_writer.
    """

    def __init__(self, handle: int, path: Path, cached: bool):
        super().__init__(handle, "w")
        self._path, self.recorder = path, Recorder(by_row=path.suffix == ".jsonl")
        self._cached, self._released = cached or not hasattr(os, "posix_fadvise"), 0

    def write(self, data: Buffer, /) -> int:
        with disk_errors(self._path):
            written = super().write(data)
        self.recorder.update(memoryview(data)[:written])
        if not self._cached and self.recorder.bytes - self._released >= _RELEASE_BYTES:
            self._release()
        return written

    def _release(self) -> None:
        """Let the system write what is new, and forget what is on the disk, so that it uses the same memory again."""
        start, self._released = max(0, self._released - _WINDOW_BYTES), self.recorder.bytes
        os.posix_fadvise(self.fileno(), start, self._released - start, os.POSIX_FADV_DONTNEED)


def umask() -> int:
    """Return this process's file mode creation mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove(name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name)


class disk_errors:  # in lower case, like contextlib.suppress
    """A context that turns an OSError of its body into an SdgError that says `path` cannot be written."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise SdgError(
                f"cannot write {self._path}: {error.strerror or error}. Check the path, its permissions and the free "
                "disk space, then run again to resume; completed work is kept."
            ) from error


def write_json(path: Path | str, value: Any, *, sync: bool = True) -> None:
    """Replace a small JSON file atomically, indented, with keys in the order given. sync: see atomic_writer."""
    with atomic_writer(path, sync=sync) as file:
        file.write(exact_json.dumps(value, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str))


def read_json(path: Path | str) -> Any:
    """Return the value in a small JSON file, or None when the file does not exist."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return exact_json.loads(data)
    except ValueError as error:
        raise SdgError(
            f"{path}: {exact_json.explain(data, error)}: {_excerpt(data)}. Something else changed it: restore or "
            "remove it, then run again."
        ) from None


class AppendLog:
    """An append-only JSONL file with a single writer.

    Every append reaches the operating system before it returns, so kill -9 loses nothing. A last line torn by a power
    cut or a full disk is truncated when the file is next opened.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self.size = _truncate_torn_line(self._fd)

    def append(self, row: dict[str, Any] | bytes) -> None:
        """Append a row: an object, or one or more serialised lines, each ending in a newline."""
        data = row if isinstance(row, bytes) else dumps(row)
        written = 0
        with disk_errors(self.path):
            try:
                while written < len(data):
                    written += os.pwrite(self._fd, data[written:] if written else data, self.size + written)
            except OSError:
                os.ftruncate(self._fd, self.size)  # never leave half a line before later rows
                raise
        self.size += len(data)

    def flush(self) -> None:
        """Sync to disk, against power cuts (kill -9 needs no flush)."""
        with disk_errors(self.path):
            os.fsync(self._fd)

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        if self._fd >= 0:
            try:
                self.flush()
            finally:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _truncate_torn_line(fd: int) -> int:
    """Truncate to the end of the last complete line; return the new size in bytes."""
    size = end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(fd, end)
    return end


def write_private(path: Path, value: dict[str, Any]) -> None:
    """Replace a JSON file atomically, readable by its owner only from the moment it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = temporary_path(path)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(exact_json.dumps(value, orjson.OPT_INDENT_2))
    os.replace(new, path)


def folder_bytes(folder: Path) -> int:
    """Return the total size in bytes of the files under a folder, which may change meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


def read_tail(path: Path, max_lines: int, start: int = 0, hide: Callable[[str], str] = str) -> list[str]:
    """Return the last lines of a log, each cut to 300 characters; [] when the log does not exist.

    start: ignore the bytes before this offset, which an earlier process wrote. hide: removes keys from a text.
    """
    try:
        with open(path, "rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line[:300] for line in hide(text).splitlines()[-max_lines:]]
