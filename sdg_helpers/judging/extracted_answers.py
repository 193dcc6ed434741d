"""Extract the answers from the heavy solution files once, into one small table per seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from sdg_helpers import files
from sdg_helpers.answers.extraction import OPEN, extract_boxed
from sdg_helpers.judging.verdicts import read_verdicts
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import scan_solutions
from sdg_helpers.solutions.rows import Solution, answer_start, escape_json

MAX_LENGTH = 2000  # characters; a longer box is not a final answer
_SCHEMA = pa.schema([("id", pa.string()), ("predicted_answer", pa.string())])
_BATCH = 1 << 16
_BOXED = escape_json(r"\boxed")


def answer_of(solution: Solution, reasoning: bool = True) -> str | None:
    """Return what answers.extract_answer does, for a text that is still JSON-escaped: only the part after the thinking
    is parsed."""
    start = answer_start(solution.text)
    if solution.finish_reason != "stop" or (start < 0 and (reasoning or OPEN.encode() in solution.text)):
        return None
    if solution.text.find(_BOXED, max(0, start)) < 0:
        return None
    boxed = (extract_boxed(solution.answer_text()) or "").strip()
    return boxed if 0 < len(boxed) <= MAX_LENGTH else None


def extract_answers(solutions: Path, folder: Path, reasoning: bool = True) -> None:
    """Write {folder}/answers-rs{seed}.parquet (id, predicted_answer or null) for every seed without one."""
    for seed, path in seed_files.seed_files(solutions).items():
        target = folder / f"answers-rs{seed}.parquet"
        if not target.exists():
            with files.atomic_writer(target) as out, parquet.ParquetWriter(out, _SCHEMA) as table:
                for ids, answers in _batches(path, reasoning):
                    table.write_table(
                        pa.Table.from_arrays(
                            [pa.array(ids, pa.string()), pa.array(answers, pa.string())], schema=_SCHEMA
                        )
                    )


def _batches(path: Path, reasoning: bool) -> Iterator[tuple[list[str], list[str | None]]]:
    ids: list[str] = []
    answers: list[str | None] = []
    for solution in scan_solutions(path):
        ids.append(solution.keys["id"])
        answers.append(answer_of(solution, reasoning))
        if len(ids) == _BATCH:
            yield ids, answers
            ids, answers = [], []
    yield ids, answers


class ExtractedAnswers:
    """The answers that `extract_answers` wrote."""

    def __init__(self, folder: Path, seeds: list[int]):
        self.seeds, self._folder = seeds, folder

    def of_seed(self, seed: int) -> Iterator[tuple[str, str | None]]:
        """Yield (id, predicted answer) in the order of the seed's file."""
        file = parquet.ParquetFile(self._folder / f"answers-rs{seed}.parquet")
        for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


class JudgedAnswers:
    """The answers in an earlier verdicts.parquet, so that judging again does not read the solutions."""

    def __init__(self, verdicts: Path, seeds: list[int]):
        self.seeds, self._verdicts = seeds, verdicts

    def of_seed(self, seed: int) -> Iterator[tuple[str, str | None]]:
        """Yield (id, predicted answer) in the order of the seed's file."""
        return ((one.id, one.predicted_answer) for one in read_verdicts(self._verdicts, seed))
