"""Files that survive being killed: append-only JSONL, atomic replacement, fingerprints, locks."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from sdg_helpers import files
from sdg_helpers.errors import SdgError

_BLOCK = 1 << 20


def content_id(*parts: str) -> str:
    """16 hex digits that depend on the parts alone; ids are content, never line numbers."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def dumps(row: dict[str, Any]) -> bytes:
    """One JSONL line, newline included. A lone surrogate (broken text from outside) becomes U+FFFD."""
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        text = mended(json.dumps(row, ensure_ascii=False))
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_APPEND_NEWLINE)


def mended(value: Any) -> Any:
    """The same JSON value with every lone surrogate replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(key): mended(item) for key, item in value.items()}
    return value


def read_jsonl(path: Path | str) -> Iterator[dict[str, Any]]:
    """Rows of a JSONL file, one at a time; blank lines are passed over.

    Raises SdgError naming file and line for a line that is not JSON or not an object.
    """
    for number, line in enumerate(_open_rows(path), 1):
        if line.isspace():
            continue
        yield parse_row(line, path, number)


def head(path: Path | str, count: int) -> list[dict[str, Any]]:
    """Return the first `count` rows of a JSONL file, or all of a shorter one; the rest of the file is not read."""
    return list(islice(read_jsonl(path), count))


def read_log(path: Path | str) -> Iterator[dict[str, Any]]:
    """Rows of an AppendLog's file; a last line that is torn does not count, and a file that is not there is empty."""
    if Path(path).exists():
        with open(path, "rb", buffering=_BLOCK) as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield parse_row(line, path, number)


def parse_row(line: bytes, path: Path | str, number: int) -> dict[str, Any]:
    """The object on one line; `path` and `number` are for the error."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise SdgError(
            f"{path}, line {number}: expected one JSON object, found {_shown(line)} ({error}). "
            "Mend or remove that line and run again."
        ) from None
    if not isinstance(row, dict):
        raise SdgError(
            f"{path}, line {number}: expected a JSON object ({{...}}), found {type(row).__name__} "
            f"{_shown(line)}. Mend or remove that line and run again."
        )
    return row


def _open_rows(path: Path | str) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise SdgError(
            f"{path}: expected a JSONL file, found none. Run the stage that makes it, or give the right path."
        ) from None


def _shown(line: bytes) -> str:
    text = line[:80].decode("utf-8", "replace").rstrip("\n")
    return repr(text + ("…" if len(line) > 80 else ""))


@contextmanager
def atomic_writer(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file that appears under `path` whole or not at all (temporary name, fsync, rename).

    Raises SdgError when this file cannot be written; what else the body raises comes through as it is.
    """
    path = Path(path)
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with io.BufferedWriter(_Raw(handle, path), _BLOCK) as file:
            yield file
            file.flush()
            with _disk_errors(path):
                os.fsync(handle)
        with _disk_errors(path):
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
    except BaseException:
        _remove(name)
        raise


class _Raw(io.FileIO):
    """An open file whose failing writes are errors of `path`, not of whatever else its user is doing."""

    def __init__(self, handle: int, path: Path):
        super().__init__(handle, "w")
        self._path = path

    def write(self, data: bytes | memoryview) -> int:
        with _disk_errors(self._path):
            return super().write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove(name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SdgError(
            f"{path}: could not be written ({error.strerror or error}). What was complete is kept; free "
            "disk space or mend the permissions, then run again: it goes on where it stopped."
        ) from error


def write_json(path: Path | str, value: Any) -> None:
    """Replace a small JSON file atomically; keys keep their order, two spaces of indent."""
    with atomic_writer(path) as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str))


def read_json(path: Path | str) -> Any:
    """The value of a small JSON file, or None when the file is not there."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SdgError(
            f"{path}: expected JSON, found {_shown(data)} ({error}). "
            "Something else changed it: restore it, or remove it and run again."
        ) from None


class AppendLog:
    """An append-only JSONL file with one writer. Every append reaches the operating system at once, so that kill -9
    loses nothing; a last line torn by a power cut or a full disk is cut off when the file is opened again."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        with _disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self.size = _cut_torn_line(self._fd)

    def append(self, row: dict[str, Any] | bytes) -> None:
        """Add one row (an object, or a line already serialised with its newline; several such lines will do too)."""
        data = row if isinstance(row, bytes) else dumps(row)
        written = 0
        with _disk_errors(self.path):
            try:
                while written < len(data):
                    written += os.pwrite(self._fd, data[written:] if written else data, self.size + written)
            except OSError:
                os.ftruncate(self._fd, self.size)  # never leave half a line in front of later rows
                raise
        self.size += len(data)

    def flush(self) -> None:
        """Wait until the disk has it (against power cuts; kill -9 needs no flush)."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Flush and close; closing twice is harmless."""
        if self._fd >= 0:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _cut_torn_line(fd: int) -> int:
    """Truncate to the end of the last whole line; return the new size in bytes."""
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


def fingerprint(path: Path | str) -> dict[str, Any]:
    """{"bytes", "mtime_ns", "blake2b"} of a file; equal content gives an equal blake2b. Reads the file once."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
        status = os.fstat(file.fileno())
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "blake2b": digest.hexdigest()}


class Lock:
    """An exclusive lock that dies with its process; `what` names it in the message to the one who comes second.

    A path that cannot be written is an error when the lock is made, not when it is entered: who waits for its turn
    would wait for ever.
    """

    def __init__(self, path: Path | str, what: str):
        self.path, self.what, self._file = Path(path), what, None
        with _disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.open("ab").close()

    def __enter__(self) -> Lock:
        file = open(self.path, "a+b", buffering=0)
        if not self._taken(file):
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
            file.close()
            raise SdgError(
                f"{self.what} is at work already: {holder} holds {self.path}. "
                "Wait until it ends, or stop it, then run again."
            )
        with suppress(OSError):  # a full disk: the lock holds without the name as well
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._file = file
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._file = None

    @staticmethod
    def _taken(file: BinaryIO) -> bool:
        for pause_s in (0.05, 0.1, 0):  # someone who only looks (`is_free`) lets go at once
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(pause_s)
        return False

    @staticmethod
    def is_free(path: Path | str) -> bool:
        """Whether nobody holds the lock of this path, without taking it."""
        try:
            with open(path) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True


def write_private(path: Path, value: dict[str, Any]) -> None:
    """Replace a file that only its user may read, never readable by others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    os.replace(new, path)


def arrived(folder: Path) -> int:
    """Bytes under a folder; files may come and go meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


_POLL_S = 0.2


@contextmanager
def waiting_lock(path: Path, what: str, meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
    """files.Lock that waits for its turn; `meanwhile` is called now and then until it comes."""
    lock = files.Lock(path, what)
    while True:
        try:
            lock.__enter__()
            break
        except SdgError:
            meanwhile()
            time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.__exit__()
