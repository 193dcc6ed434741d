"""Solutions on disk: every writer appends to files of its own, a merge puts them in problem order, one file a seed.

    partial/rs{seed}/{writer}.jsonl   in order of completion; a writer is one attempt, so no file has two writers
    output-rs{seed}.jsonl             in problem order, the rows of all writers, each (id, seed) once

Both hold the same bytes a row, so merging copies lines and never parses a solution."""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemIndex

_NAME = re.compile(r"output-rs(\d+)\.jsonl")
_HEAD = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*"),')
_TAIL = re.compile(rb'"finish_reason":"([^"\\]*)","num_generated_tokens":(\d+)\}\n$')
_TAIL_BYTES = 256
_MOST_OPEN = 128  # files of a seed: the attempts of one chunk, and far below what a process may open
TOKEN_BINS = 2 ** np.arange(0, 21)  # bin edges of the length histogram, tokens


def seed_files(folder: Path | str) -> dict[int, Path]:
    """The merged files of a solutions folder by seed, in order; chunk files and other names are not seeds."""
    found = {
        int(match[1]): path for path in Path(folder).glob("output-rs*.jsonl") if (match := _NAME.fullmatch(path.name))
    }
    return dict(sorted(found.items()))


class PartialWriter:
    """Appends rows, each to the file of its seed.

    `name`, for files of this attempt: when it began, so that attempts sort by age, whose it is, and a random mark.
    """

    def __init__(self, folder: Path | str, name: str):
        self.folder = Path(folder) / "partial"
        self.name = f"{time.time_ns()}-{name}-{secrets.token_hex(4)}"
        self._logs: dict[int, files.AppendLog] = {}

    def append(self, seed: int, line: bytes) -> None:
        """Add one serialised row; it is the operating system's when this returns."""
        log = self._logs.get(seed)
        if log is None:
            log = self._logs[seed] = files.AppendLog(self.folder / f"rs{seed}" / f"{self.name}.jsonl")
        log.append(line)

    def close(self) -> None:
        """Flush and close every file."""
        for log in self._logs.values():
            log.close()


def finished(folder: Path | str, index: ProblemIndex, num_seeds: int, writer: str | None = None) -> np.ndarray:
    """Which solutions are on disk: a bool array of shape (problems, seeds). Counts whatever split they were made in.

    writer: only what writers of this name have written.
    """
    done = np.zeros((len(index), num_seeds), dtype=bool)
    for seed in range(num_seeds):
        for path in _sources(Path(folder), seed):
            if writer is not None and f"-{writer}-" not in path.name:
                continue
            for _, _, position in _lines(path, index):
                done[position, seed] = True
    return done


def write_done(folder: Path, done: np.ndarray) -> None:
    """Keep what `finished` found, for the jobs of a stage: a bit a solution."""
    data = io.BytesIO()  # given a real file, numpy writes past it, and says no reason when the disk is full
    np.save(data, np.packbits(done, axis=0), allow_pickle=False)
    with files.atomic_writer(folder / "partial" / "done.npy") as out:
        out.write(data.getvalue() + done.shape[0].to_bytes(8, "little"))


def read_done(folder: Path, num_seeds: int) -> np.ndarray:
    """What `write_done` kept: a bool array of shape (problems, num_seeds)."""
    with open(folder / "partial" / "done.npy", "rb") as file:
        bits = np.load(file, allow_pickle=False)
        count = int.from_bytes(file.read(8), "little")
    return np.unpackbits(bits, axis=0, count=count).astype(bool).reshape(count, num_seeds)


@dataclass
class Summary:
    """What merging saw: rows, generated tokens, finish reasons, lengths (counts a TOKEN_BINS bin)."""

    rows: int = 0
    tokens: int = 0
    finish_reasons: Counter = field(default_factory=Counter)
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(len(TOKEN_BINS) + 1, dtype=np.int64))


def merge(folder: Path | str, index: ProblemIndex, seed: int, summary: Summary) -> np.ndarray:
    """Write output-rs{seed}.jsonl in problem order from all writers' files, then remove those; adds to `summary`.

    Returns a checksum a problem (uint32, shape (problems,), 0 = no solution) of the generated text.
    A solution that two writers finished (a node that was thought lost) is taken once, from the first by file name.
    """
    folder = Path(folder)
    sources = _sources(folder, seed)
    where = _locate(sources, index)
    checksums = np.zeros(len(index), dtype=np.uint32)
    with closing(_Reader(sources)) as reader, files.atomic_writer(folder / f"output-rs{seed}.jsonl") as out:
        for position in np.flatnonzero(where["length"]):
            line = reader.read(*where[position].tolist())
            out.write(line)
            checksums[position] = _summarise(line, summary)
    shutil.rmtree(folder / "partial" / f"rs{seed}", ignore_errors=True)
    return checksums


class _Reader:
    """Reads from any of many files, with those open that were read last: a seed may have a file for each attempt of
    each chunk, more than a process may open."""

    def __init__(self, paths: list[Path]):
        self._paths, self._open = paths, {}  # the one read last stands last

    def read(self, source: int, offset: int, length: int) -> bytes:
        """So many bytes of that file."""
        handle = self._open.pop(source, None)
        if handle is None:
            if len(self._open) == _MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            handle = os.open(self._paths[source], os.O_RDONLY)
        self._open[source] = handle
        return os.pread(handle, length, offset)

    def close(self) -> None:
        """Close every file."""
        while self._open:
            os.close(self._open.popitem()[1])


def _summarise(line: bytes, summary: Summary) -> int:
    tail = _TAIL.search(line, max(0, len(line) - _TAIL_BYTES))
    tokens = int(tail[2])
    summary.rows += 1
    summary.tokens += tokens
    summary.finish_reasons[tail[1].decode()] += 1
    summary.lengths[np.searchsorted(TOKEN_BINS, tokens, side="right")] += 1
    start = line.find(b'"generation":')
    return zlib.crc32(memoryview(line)[start : tail.start()]) or 1


def _sources(folder: Path, seed: int) -> list[Path]:
    merged = folder / f"output-rs{seed}.jsonl"
    return [*([merged] if merged.exists() else []), *sorted((folder / "partial" / f"rs{seed}").glob("*.jsonl"))]


def _locate(sources: list[Path], index: ProblemIndex) -> np.ndarray:
    """(source, offset, length) of every problem's line; length 0 where there is none."""
    where = np.zeros(len(index), dtype=[("source", np.int32), ("offset", np.int64), ("length", np.int64)])
    for number, path in enumerate(sources):
        for offset, length, position in _lines(path, index):
            if where["length"][position] == 0:
                where[position] = number, offset, length
    return where


def _lines(path: Path, index: ProblemIndex) -> Iterator[tuple[int, int, int]]:
    """(offset, length, position of the problem) of each whole line; a torn last line does not count."""
    offset = 0
    with open(path, "rb", buffering=1 << 20) as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            head = _HEAD.match(line)
            position = index.position(orjson.loads(head[1])) if head else -1
            if position < 0 or not _TAIL.search(line, max(0, len(line) - _TAIL_BYTES)):
                raise SdgError(
                    f"{path}, byte {offset}: expected a solution of a problem of this run, found "
                    f"{line[:80]!r}. Something else wrote into this folder: remove the file and run again."
                )
            yield offset, len(line), position
            offset += len(line)
