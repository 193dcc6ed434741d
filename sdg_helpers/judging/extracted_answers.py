"""Extract the answers from the heavy solution files once, into one small table per seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.answers.extraction import MAX_ANSWER, Extracted, find_answer
from sdg_helpers.answers.finish_reasons import ended_by_itself
from sdg_helpers.answers.thinking import OPEN
from sdg_helpers.judging.verdicts import read_batches
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import scan_solutions
from sdg_helpers.solutions.rows import Solution, answer_start, escape_json

_SCHEMA = pa.schema([("id", pa.string()), ("predicted_answer", pa.string()), ("ambiguous", pa.bool_())])
_BATCH = 1 << 16
_BOXES = [escape_json(command) for command in (r"\boxed", r"\fbox", r"\framebox")]


def answer_of(solution: Solution, reasoning: bool = True, *, judge_by_form: bool = True) -> Extracted:
    """Return what answers.extract_answer does, for a text that is still JSON-escaped: only the part after the thinking
    is parsed."""
    start, ended = answer_start(solution.text), ended_by_itself(solution.finish_reason)
    if start < 0 and (reasoning or OPEN.encode() in solution.text):
        return Extracted(None)
    if ended is False or (ended is None and not judge_by_form):
        return Extracted(None)
    if all(solution.text.find(box, max(0, start)) < 0 for box in _BOXES):
        return Extracted(None)
    found = find_answer(solution.answer_text())
    return found if found.answer is None or len(found.answer) <= MAX_ANSWER else Extracted(None)


def extract_answers(solutions: Path, folder: Path, reasoning: bool = True, *, judge_by_form: bool = True) -> None:
    """Write a table of answers (id, predicted_answer or null, ambiguous) into `folder` for every seed without one.

    judge_by_form: a solution without finish reason counts if its thinking and its last box are closed.
    """
    for seed, path in seed_files.seed_files(solutions).items():
        target = _table_path(folder, seed, path)
        if not target.exists():
            write_table(target, _rows(path, reasoning, judge_by_form))


def write_table(path: Path, rows: Iterable[tuple[str, str | None, bool]]) -> None:
    """Write (id, answer, ambiguous) rows as a table of answers."""
    rows = iter(rows)
    with files.atomic_writer(path) as out, parquet.ParquetWriter(out, _SCHEMA) as table:
        while batch := list(islice(rows, _BATCH)):
            arrays = [
                pa.array(column, field.type) for column, field in zip(zip(*batch, strict=True), _SCHEMA, strict=True)
            ]
            table.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA))


def read_table(path: Path) -> Iterator[tuple[str, Extracted]]:
    """Yield (id, answer) in the order of a table's rows."""
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=_BATCH, use_threads=False):
        for problem_id, *answer in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield problem_id, Extracted(*answer)


def _table_path(folder: Path, seed: int, solutions: Path) -> Path:
    """The table of one seed's answers, named after the version of the file that it was made from."""
    status = solutions.stat()
    return folder / f"answers-rs{seed}-{status.st_size:x}-{status.st_mtime_ns:x}.parquet"


def _rows(path: Path, reasoning: bool, judge_by_form: bool) -> Iterator[tuple[str, str | None, bool]]:
    for solution in scan_solutions(path):
        yield (solution.keys["id"], *answer_of(solution, reasoning, judge_by_form=judge_by_form))


class ExtractedAnswers:
    """The answers that `extract_answers` wrote."""

    def __init__(self, folder: Path, solutions: dict[int, Path]):
        """solutions: the merged files by seed."""
        self.seeds, self._folder, self._solutions = list(solutions), folder, solutions

    def of_seed(self, seed: int) -> Iterator[tuple[str, Extracted]]:
        """Yield (id, answer) in the order of the seed's file."""
        return read_table(_table_path(self._folder, seed, self._solutions[seed]))


class JudgedAnswers:
    """The answers in an earlier verdicts.parquet, so that judging again does not read the solutions."""

    def __init__(self, verdicts: Path, seeds: list[int]):
        self.seeds, self._verdicts = seeds, verdicts

    def of_seed(self, seed: int) -> Iterator[tuple[str, Extracted]]:
        """Yield (id, answer) in the order of the seed's file."""
        for batch in read_batches(self._verdicts, ["id", "predicted_answer", "how"], seed):
            names, answers, hows = (column.to_pylist() for column in batch.columns)
            yield from zip(names, map(Extracted, answers, (how == "ambiguous" for how in hows)), strict=True)
