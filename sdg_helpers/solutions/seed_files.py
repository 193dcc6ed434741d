"""Solutions on disk: each writer appends to its own files, and a merge puts them in problem order, one file per seed.

    partial/rs{seed}/{writer}.jsonl   in order of completion; a writer is one attempt, so no file has two writers
    output-rs{seed}.jsonl             in problem order, with the rows of all writers and each (id, seed) once

A row has the same bytes in both, so merging copies lines and never parses a solution.
"""

from __future__ import annotations

import io
import re
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sdg_helpers import files
from sdg_helpers.answers.finish_reasons import is_cut
from sdg_helpers.errors import SdgError
from sdg_helpers.file_pool import FilePool
from sdg_helpers.fingerprints import BLOCK, Recorder, remember_written
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.solutions.rows import read_id, summarize_row

_NAME = re.compile(r"output-rs([0-9]+)\.jsonl")
TOKEN_BINS = 2 ** np.arange(0, 21)  # bin edges of the length histogram, tokens


def seed_files(folder: Path | str) -> dict[int, Path]:
    """Return the merged files of a solutions folder by seed, in order. Chunk files and other names are ignored."""
    found = {
        int(match[1]): path for path in Path(folder).glob("output-rs*.jsonl") if (match := _NAME.fullmatch(path.name))
    }
    return dict(sorted(found.items()))


def files_by_seed(folder: Path | str) -> dict[int, list[Path]]:
    """Return all files with solutions of each seed: the merged one first, then those that writers still add to.

    A solution may be in several of them; the first one counts.
    """
    folder = Path(folder)
    writing = [path.name.removeprefix("rs") for path in (folder / "partial").glob("rs*")]
    seeds = {*seed_files(folder), *(int(seed) for seed in writing if seed.isdecimal())}
    return {seed: _sources(folder, seed) for seed in sorted(seeds)}


class PartialWriter:
    """Append rows, each to the file of its seed.

    `name` names this attempt's files: its start time (so that attempts sort by age), its writer, and a random suffix.
    """

    def __init__(self, folder: Path | str, name: str):
        self.folder = Path(folder) / "partial"
        self.name = f"{time.time_ns()}-{name}-{secrets.token_hex(4)}"
        self._logs: dict[int, files.AppendLog] = {}
        self._waiting: dict[int, list[bytes]] = {}  # rows to write, by seed
        self._writing = threading.Lock()

    def append(self, seed: int, line: bytes) -> None:
        """Append one serialized row. When this returns, the operating system has it."""
        self.add(seed, line)
        self.write()

    def add(self, seed: int, line: bytes) -> None:
        """Add one serialized row to those that `write` appends."""
        with self._writing:
            self._waiting.setdefault(seed, []).append(line)

    def write(self) -> None:
        """Append the added rows, those of a seed at once. When this returns, the operating system has them."""
        with self._writing:
            for seed, lines in self._waiting.items():
                log = self._logs.get(seed)
                if log is None:
                    log = self._logs[seed] = files.AppendLog(self.folder / f"rs{seed}" / f"{self.name}.jsonl")
                if lines:
                    log.append(b"".join(lines))
                    lines.clear()
            self._waiting.clear()

    def sync(self) -> None:
        """Put on disk, against power cuts, what has been added. May be called from another thread."""
        self.write()
        for log in list(self._logs.values()):
            log.flush()

    def close(self) -> None:
        """Write what was added, and close every file."""
        try:
            self.write()
        finally:
            for log in self._logs.values():
                log.close()


def find_done(
    folder: Path | str,
    index: ProblemIndex,
    num_seeds: int,
    writer: str | None = None,
    outgrown: Container[Path] = frozenset(),
) -> np.ndarray:
    """Return which solutions are on disk: a bool array of shape (problems, seeds), whoever wrote them.

    writer: count only the rows of the PartialWriter of this name. outgrown: files whose cut rows do not count.
    """
    done = np.zeros((len(index), num_seeds), dtype=bool)
    for seed in range(num_seeds):
        for path in _sources(Path(folder), seed):
            if writer is not None and path.stem != writer:
                continue
            for _, _, position in _lines(path, index, path in outgrown):
                done[position, seed] = True
    return done


def writer_bytes(folder: Path, writer: str) -> int:
    """Return how many bytes the PartialWriter of this name has written."""
    return sum(path.stat().st_size for path in (folder / "partial").glob(f"rs*/{writer}.jsonl"))


def write_done(folder: Path, done: np.ndarray) -> None:
    """Save what `find_done` returned for the jobs of a stage, one bit per solution."""
    data = io.BytesIO()  # numpy writes to a real file through its descriptor and hides the reason when the disk is full
    np.save(data, np.packbits(done, axis=0), allow_pickle=False)
    with files.atomic_writer(folder / "partial" / "done.npy") as out:
        out.write(data.getvalue() + done.shape[0].to_bytes(8, "little"))


def read_done(folder: Path, num_seeds: int) -> np.ndarray:
    """Return what `write_done` saved: a bool array of shape (problems, num_seeds).

    A job that was submitted before the stage grew reads only its own seeds.
    """
    with open(folder / "partial" / "done.npy", "rb") as file:
        bits = np.load(file, allow_pickle=False)
        count = int.from_bytes(file.read(8), "little")
    return np.unpackbits(bits, axis=0, count=count).astype(bool)[:, :num_seeds]


@dataclass
class Summary:
    """Counts of merged rows. lengths: rows per bin of TOKEN_BINS; thinking: rows by `thinking_shape`."""

    rows: int = 0
    tokens: int = 0
    finish_reasons: Counter[str] = field(default_factory=Counter)
    thinking: Counter[str] = field(default_factory=Counter)
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(len(TOKEN_BINS) + 1, dtype=np.int64))

    def add(self, line: bytes) -> int:
        """Count one row; return the checksum of its text (never 0)."""
        row = summarize_row(line)
        self.rows += 1
        self.tokens += row.tokens
        self.finish_reasons[row.finish_reason] += 1
        self.thinking[row.thinking] += 1
        self.lengths[np.searchsorted(TOKEN_BINS, row.tokens, side="right")] += 1
        return row.text_checksum


def merge(
    folder: Path | str, index: ProblemIndex, seed: int, summary: Summary, outgrown: Container[Path] = frozenset()
) -> np.ndarray:
    """Write output-rs{seed}.jsonl in problem order from all writers' files, then remove those; update `summary`.

    Return a checksum of each problem's generated text (uint32, shape (problems,), 0 = no solution). When two writers
    finished the same solution (a node was thought lost), keep the one whose file name sorts first. Cut rows of the
    files in `outgrown` are left out.
    """
    folder = Path(folder)
    target, sources = folder / f"output-rs{seed}.jsonl", _sources(folder, seed)
    where = _locate(sources, index, outgrown)
    checksums = np.zeros(len(index), dtype=np.uint32)
    found = np.flatnonzero(where["length"])
    if sources == [target] and _is_whole(target, where[found]):
        lines = _read_again(target)
        for position, line in zip(found, lines, strict=True):
            checksums[position] = summary.add(line)
    else:
        with FilePool(sources) as pool, files.atomic_writer(target) as out:
            for position in found:
                line = pool.read(*where[position].tolist())
                out.write(line)
                checksums[position] = summary.add(line)
    shutil.rmtree(folder / "partial" / f"rs{seed}", ignore_errors=True)
    return checksums


def _is_whole(path: Path, where: np.ndarray) -> bool:
    """Whether a file consists of these lines, in this order: nothing has been added to it."""
    ends = np.cumsum(where["length"])
    return (
        bool(len(ends))
        and int(ends[-1]) == path.stat().st_size
        and bool((where["offset"] == ends - where["length"]).all())
    )


def _read_again(path: Path) -> Iterator[bytes]:
    """Yield the lines of a merged file that stays as it is, and compute its fingerprint."""
    recorder = Recorder(by_row=True)
    with open(path, "rb", buffering=BLOCK) as file:
        for line in file:
            recorder.update(line)
            yield line
    remember_written(path, recorder)


def _sources(folder: Path, seed: int) -> list[Path]:
    merged = folder / f"output-rs{seed}.jsonl"
    return [*([merged] if merged.exists() else []), *sorted((folder / "partial" / f"rs{seed}").glob("*.jsonl"))]


def _locate(sources: list[Path], index: ProblemIndex, outgrown: Container[Path]) -> np.ndarray:
    """Return (source, offset, length) of every problem's line; length 0 for a missing line."""
    where = np.zeros(len(index), dtype=[("source", np.int32), ("offset", np.int64), ("length", np.int64)])
    for number, path in enumerate(sources):
        for offset, length, position in _lines(path, index, path in outgrown):
            if where["length"][position] == 0:
                where[position] = number, offset, length
    return where


def _lines(path: Path, index: ProblemIndex, skip_cut: bool) -> Iterator[tuple[int, int, int]]:
    """Yield (offset, length, position of the problem) of each whole line; skip a torn last line, and cut rows if
    asked to."""
    offset = 0
    with open(path, "rb", buffering=1 << 20) as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            if b"\0" in line:
                raise SdgError(
                    f"{path}, byte {offset}: {line.count(0):,} NUL bytes, as a power cut or a failing disk leaves "
                    "them. Remove this line, or the file, and run again: only the solutions in it are asked for again."
                )
            problem_id = read_id(line)
            position = -1 if problem_id is None else index.position(problem_id)
            if position < 0:
                raise SdgError(
                    f"{path}, byte {offset}: not a solution of a problem of this run: {line[:80]!r}. Another program "
                    "wrote into this folder: remove the file and run again."
                )
            if not (skip_cut and is_cut(summarize_row(line).finish_reason)):
                yield offset, len(line), position
            offset += len(line)
