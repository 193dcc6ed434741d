"""What each stage takes from the rows of a folder in the layout of NeMo-Skills.

A part passes every row on, so that several of them can follow one reading of a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.comparisons import comparison_key, row_of
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.labels.rules import COLUMNS
from sdg_helpers.nemo_skills.exporting import RULE_REPLIES
from sdg_helpers.nemo_skills.foreign_rows import answer_text, our_solution_line, problem_of
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.stages import Work

Rows = Iterator[dict[str, Any]]
Read = Mapping[Path, Mapping[str, Any]]  # the files that were read, with their fingerprints


class Part(Protocol):
    """One stage that is made from rows."""

    def take(self, seed: int, source: Sequence[Path], rows: Rows) -> Rows:
        """Yield the rows of one seed's files, and use them. Raises SdgError for a row that does not fit."""
        ...

    def finish(self, read: Read) -> None:
        """Finish the stage, when its files are complete."""
        ...


class Problems:
    """The problems of all rows, each once, in order of appearance. `index` grows with them."""

    def __init__(self, work: Work, path: Path, writers: ExitStack):
        """path: of problems.jsonl, to write. writers: closes the part's files."""
        self._work, self._path, self._out = work, path, writers.enter_context(files.atomic_writer(path))
        self._texts: dict[str, str] = {}  # id -> content id of the text
        self._positions: dict[str, int] = {}
        self._read = 0
        self.index = ProblemIndex(self._positions)

    def take(self, seed: int, source: Sequence[Path], rows: Rows) -> Rows:
        """See Part."""
        for row in rows:
            self._read += 1
            text = files.content_id(row["problem"])
            if self._texts.setdefault(row["id"], text) != text:
                raise SdgError(
                    f"{source[0]}: the id {row['id']!r} belongs to two problems with different texts. Give "
                    "every problem an id of its own, or none, then import again."
                )
            if row["id"] not in self._positions:
                self._positions[row["id"]] = len(self._positions)
                self._out.write(files.dumps(problem_of(row)))
            yield row

    def finish(self, read: Read) -> None:
        """See Part."""
        kept = len(self._positions)
        self._work.finish(
            rows_in=self._read, rows_out=kept, dropped={"repeated": self._read - kept}, outputs=[self._path], read=read
        )


class Solutions:
    """The solutions in our format, one file per seed."""

    def __init__(self, work: Work, problems: Path, index: ProblemIndex, writers: ExitStack):
        self._work, self._index = work, index
        self._outputs, self._counts = list[Path](), Counter[str]()

    def take(self, seed: int, source: Sequence[Path], rows: Rows) -> Rows:
        """See Part."""
        target, last = self._work.folder / f"output-rs{seed}.jsonl", -1
        seen: set[int] = set()
        self._outputs.append(target)
        with files.atomic_writer(target) as out:
            for number, row in enumerate(rows, 1):
                position = self._index.position(row["id"])
                self._counts["read"] += 1
                if position not in seen:
                    if position <= last:
                        raise SdgError(
                            f"{source[0]}, row {number}: the problem {row['id']!r} is out of order or unknown. Sort "
                            "the rows in the order of problems.jsonl."
                        )
                    seen.add(position)
                    last = position
                    self._counts["kept"] += 1
                    self._counts["tokens"] += int(row.get("num_generated_tokens") or 0)
                    out.write(our_solution_line(row, seed))
                yield row

    def finish(self, read: Read) -> None:
        """See Part."""
        counts = self._counts
        self._work.finish(
            rows_in=counts["read"],
            rows_out=counts["kept"],
            outputs=self._outputs,
            problems=len(self._index),
            dropped={"repeated": counts["read"] - counts["kept"]},
            generated_tokens=counts["tokens"],
            read=read,
        )


class Verdicts:
    """verdicts.parquet and its comparisons. An unreadable judgement is undecided, never a no."""

    def __init__(self, work: Work, problems: Path, index: ProblemIndex, writers: ExitStack):
        self._work, self._index = work, index
        self._outputs = [work.folder / "verdicts.parquet", work.folder / "comparisons.jsonl"]
        self._outputs[1].unlink(missing_ok=True)
        self._table = writers.enter_context(VerdictWriter(self._outputs[0]))
        self._store = writers.enter_context(files.AppendLog(self._outputs[1]))
        self._stored, self._seeds, self._read = set[int](), list[int](), 0

    def take(self, seed: int, source: Sequence[Path], rows: Rows) -> Rows:
        """See Part."""
        seen: set[int] = set()
        self._seeds.append(seed)
        for row in rows:
            self._read += 1
            position = _position(self._index, row["id"], source[0])
            if position not in seen:
                seen.add(position)
                self._add(seed, row)
            yield row

    def _add(self, seed: int, row: dict[str, Any]) -> None:
        """Add a row's verdict to the table, and its comparison to the store unless a rule decides it or it is there."""
        predicted, expected = answer_text(row.get("predicted_answer")), answer_text(row.get("expected_answer"))
        reply = row.get("judgement") or RULE_REPLIES[None]
        correct = read_judgement(reply)
        if not predicted:
            self._table.add(row["id"], seed, None, expected, False, "missing")
            return
        if not expected or row.get("label_decision") == "undecided":
            self._table.add(row["id"], seed, predicted, expected, None, "no_label")
            return
        how = "exact" if correct and predicted == expected and reply == RULE_REPLIES[True] else "imported"
        self._table.add(row["id"], seed, predicted, expected, correct, how)
        key = comparison_key(row["id"], predicted, expected)
        if how == "imported" and key not in self._stored:
            self._stored.add(key)
            self._store.append(row_of(row["id"], predicted, expected, correct, how, reply=reply))

    def finish(self, read: Read) -> None:
        """See Part."""
        total = self._table.by_how.total()
        self._work.finish(
            rows_in=self._read,
            rows_out=total,
            dropped={"repeated": self._read - total},
            outputs=self._outputs,
            seeds=self._seeds,
            undecided={},
            verdicts=dict(self._table.by_verdict),
            rows_by_how=dict(self._table.by_how),
            comparisons_asked=0,
            read=read,
        )


class Labels:
    """labels.parquet. Votes are 0 where the files do not have them."""

    def __init__(self, work: Work, problems: Path, index: ProblemIndex, writers: ExitStack):
        self._work, self._problems, self._index = work, problems, index
        self._found: dict[str, tuple[Any, ...]] = {}  # by problem id

    def take(self, seed: int, source: Sequence[Path], rows: Rows) -> Rows:
        """See Part."""
        for row in rows:
            _position(self._index, row["id"], source[0])
            if row["id"] not in self._found:
                self._found[row["id"]] = _label(row)
            yield row

    def finish(self, read: Read) -> None:
        """See Part."""
        labels = pd.DataFrame(self._labels(), columns=list(COLUMNS))
        target = self._work.folder / "labels.parquet"
        with files.atomic_writer(target) as out:
            labels.astype({name: "float32" for name in ("agreement", "confidence")}).to_parquet(out, index=False)
        decisions = {one: int((labels["decision"] == one).sum()) for one in ("keep", "relabel", "undecided")}
        rows = len(labels)
        self._work.finish(rows_in=rows, rows_out=rows, outputs=[target], problems=decisions, read=read)

    def _labels(self) -> list[tuple[Any, ...]]:
        """Return the rows of labels.parquet; the label of a problem without a row is its answer."""
        rows = []
        for problem in files.read_jsonl(self._problems):
            answer, *rest = self._found.get(problem["id"]) or _label(problem)
            rows.append((problem["id"], answer, problem["expected_answer"], *rest))
        return rows


def _label(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a label without id and original answer. Of another tool's, only the answer and the votes are known."""
    votes, seeds = np.int32(row.get("votes") or 0), np.int32(row.get("total_votes") or 0)
    confidence = row.get("label_confidence")
    return (
        answer_text(row.get("expected_answer")),
        row.get("label_decision") or ("relabel" if row.get("updated_answer_from_r1") else "keep"),
        row.get("label_reason") or "imported",
        votes,
        seeds,
        bool(row.get("label_tied")),
        votes / seeds if seeds else 0.0,
        float("nan") if confidence is None else confidence,
    )


def _position(index: ProblemIndex, problem_id: str, path: Path) -> int:
    position = index.position(problem_id)
    if position < 0:
        raise SdgError(
            f"{path}: a row's problem, {problem_id!r}, is not in problems.jsonl. Give files of one run, all together."
        )
    return position
