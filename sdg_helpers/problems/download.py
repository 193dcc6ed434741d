"""Stage 01: write each problem once to problems.jsonl, with `id`, `problem` and `expected_answer`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.appending import grown_files
from sdg_helpers.problems.columns import ANSWER_NAMES, Columns, choose_columns, unread_answers, unused_answers
from sdg_helpers.problems.repeats import Repeats
from sdg_helpers.problems.sources import read_source, source_file
from sdg_helpers.row_files.values import BadRow, BadRows
from sdg_helpers.stages import Stage, Work

SOURCE = "nvidia/OpenMathReasoning"
SPLITS = ("cot", "additional_problems")
MAX_BAD_ROWS = 100
_FIRST_ROWS = 1000  # that choose the columns


def download_problems(
    stage: Stage,
    *,
    source: str = SOURCE,
    revision: str | None = None,
    splits: Sequence[str] = SPLITS,
    columns: Mapping[str, str] | None = None,
    max_problems: int | None = None,
    max_bad_rows: int = MAX_BAD_ROWS,
    drop_types: Sequence[str] = ("converted_proof",),
) -> dict[str, Any]:
    """Write problems.jsonl: id, problem, expected_answer ("" if unknown), then the other columns. Return the manifest.

    source: a dataset on the hub (owner/name, or owner/name:config), "demo", or the path of a file (row_files.FORMATS).
    columns: our names (problem, expected_answer, id) -> the source's; names that are not given are found by
    `choose_columns`. Repeated problems are dropped: the `cot` split of OpenMathReasoning has about ten rows per
    problem, one for each solution. Where only a later copy has an answer, that one counts. Where the copies have
    different answers, `conflicting_answers` lists them and Math 05 decides none of them; the answer in the row is that
    of most labelled copies, "" if no answer is on more than half of them. drop_types: problem types to drop.
    max_problems: stop after this many; None for all. max_bad_rows: rows that cannot be read and are skipped.

    The manifest counts rows by split, type and source; `columns` are those read, `bad_rows` the first bad ones. Raises
    SdgError for a source that cannot be used, for too many bad rows, and if every answer is empty while another column
    looks like the answers'. A finished stage may grow: by a larger max_problems, or by rows at the end of a file.
    """
    if max_problems is not None and max_problems < 1:
        raise SdgError(
            f"max_problems must be 1 or more, or None for all (in the notebook, MAX_PROBLEMS = 0), not {max_problems}."
        )
    parameters = {
        "source": source,
        "revision": revision,
        "splits": list(splits),
        "columns": dict(columns or {}),
        "max_problems": max_problems,
        "max_bad_rows": max_bad_rows,
        "drop_types": list(drop_types),
    }
    path = source_file(source)
    inputs = {"source": path} if path else {}
    with stage.work(parameters, inputs, may_grow=("max_problems", "source")) as work:
        if work.done:
            return work.manifest
        try:
            return _download(work, parameters)
        except SdgError:  # the source or the parameters have to change
            work.forget()
            raise


def _download(work: Work, parameters: dict[str, Any]) -> dict[str, Any]:
    by_type, by_source = Counter[str](), Counter[str]()
    reader, repeats = _Reader(parameters), Repeats()
    rows_out = 0
    with grown_files(work, "problems.jsonl") as (path,):
        with files.atomic_writer(path) as out:
            for where, problem in reader.problems():
                if not repeats.is_new(problem, where):
                    reader.dropped["repeated"] += 1
                    continue
                rows_out += 1
                by_type[str(problem.get("problem_type") or "unknown")] += 1
                by_source[str(problem.get("problem_source") or "unknown")] += 1
                out.write(files.dumps(problem))
                work.progress(rows_out, parameters["max_problems"])
                if rows_out == parameters["max_problems"]:
                    break
            reader.check(rows_out)
        conflicting = repeats.merge_answers(path)
    return work.finish(
        rows_in=reader.rows_by_split.total(),
        rows_out=rows_out,
        dropped=reader.dropped,
        outputs=[work.folder / "problems.jsonl"],
        columns=reader.columns.as_row(),
        bad_rows=reader.bad_rows.listed,
        rows_by_split=dict(reader.rows_by_split),
        problems_by_type=dict(by_type.most_common()),
        problems_by_source=dict(by_source.most_common(1000)),
        conflicting_answers=conflicting,
    )


class _Reader:
    """Reads the problems of a source: chooses its columns, and counts what it drops."""

    def __init__(self, parameters: Mapping[str, Any]):
        self._parameters = parameters
        self._first: list[Mapping[str, Any]] = []
        self._answers = 0
        self.columns = Columns("")
        self.dropped, self.rows_by_split = Counter[str](), Counter[str]()
        self.bad_rows = BadRows(parameters["max_bad_rows"])

    def problems(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (where, problem) for every row that has one; `where` names the row in messages."""
        source = self._parameters["source"]
        rows = read_source(source, self._parameters["splits"], self._parameters["revision"])
        first = list(islice(rows, _FIRST_ROWS))
        self._first = [row for _, _, row in first if not isinstance(row, BadRow)]
        if self._first or self._parameters["columns"]:
            self.columns = choose_columns(self._first, self._parameters["columns"], source)
        for split, place, row in chain(first, rows):
            self.rows_by_split[split] += 1
            where = f"{source}, {place}" if split == "file" else f"{source}, split {split!r}, {place}"
            problem = self._problem(row, where)
            if problem is not None:
                yield where, problem

    def _problem(self, row: dict[str, Any] | BadRow, where: str) -> dict[str, Any] | None:
        """Return a row's problem; count why it has none."""
        try:
            if isinstance(row, BadRow):
                raise ValueError(row.reason)
            problem = self.columns.read(row)
        except ValueError as error:
            self.dropped["unreadable"] += 1
            self.bad_rows.skip(where, str(error))
            return None
        self._answers += bool(problem["expected_answer"])
        reason = "empty" if not problem["problem"].strip() else problem.get("problem_type")
        if reason in ("empty", *self._parameters["drop_types"]):
            self.dropped[str(reason)] += 1
            return None
        known = problem["id"] not in (None, "")
        return {**problem, "id": str(problem["id"]) if known else files.content_id(problem["problem"])}

    def check(self, problems: int) -> None:
        """Raise SdgError when there are no problems, or no answers although a column looks like theirs."""
        source = self._parameters["source"]
        if not problems:
            raise SdgError(
                f"{source}: no problem in {self.rows_by_split.total()} rows (dropped: {dict(self.dropped)})."
                f"{self.bad_rows.first} Choose another source, or other splits."
            )
        if self._answers or "expected_answer" in self._parameters["columns"]:
            return
        if likely := unused_answers(self._first, self.columns):
            name = self.columns.expected_answer
            why = f"the column {name!r} is empty" if name else f"no column is called {', '.join(ANSWER_NAMES)}"
            raise SdgError(
                f"{source}: no row has a reference answer ({why}). Did you mean the column {likely[0]!r}? Then set "
                f'COLUMNS = {{"expected_answer": "{likely[0]}"}}. For problems without answers, set '
                'COLUMNS = {"expected_answer": ""}.'
            )
        if why := unread_answers(self._first, self.columns):
            raise SdgError(
                f"{source}: no row has a reference answer: {why}. Write the answers as texts or numbers, or name "
                'another column with COLUMNS. For problems without answers, set COLUMNS = {"expected_answer": ""}.'
            )
