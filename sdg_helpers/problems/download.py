"""Stage 01: write each problem once to problems.jsonl, with `id`, `problem` and `expected_answer`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.equality import group_answers
from sdg_helpers.answers.no_answer import clean_reference
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.sources import read_source, source_file
from sdg_helpers.stages import Stage, Work

SOURCE = "nvidia/OpenMathReasoning"
SPLITS = ("cot", "additional_problems")
_MOST_ANSWERS = 8  # different answers of one problem that are listed


def download_problems(
    stage: Stage,
    *,
    source: str = SOURCE,
    revision: str | None = None,
    splits: Sequence[str] = SPLITS,
    max_problems: int | None = None,
    drop_types: Sequence[str] = ("converted_proof",),
) -> dict[str, Any]:
    """Write problems.jsonl: id, problem, expected_answer ("" if unknown), then the other columns. Return the manifest.

    source: a dataset on the hub in OpenMathReasoning's schema, "demo", or the path of a .jsonl or .parquet file whose
    rows have `problem` and optionally `id`. Repeated problems are dropped: the `cot` split has about ten rows per
    problem, one for each solution. Where the copies of a problem have different answers, it has none, and
    `conflicting_answers` lists them; where only a later copy has an answer, that one counts. drop_types: problem types
    to drop. max_problems: stop after this many; None for all.
    The manifest counts rows by split, type and source. Raises SdgError for a source or a row that cannot be used.
    """
    if max_problems is not None and max_problems < 1:
        raise SdgError(
            f"max_problems must be 1 or more, or None for all (in the notebook, MAX_PROBLEMS = 0), not {max_problems}."
        )
    parameters = {
        "source": source,
        "revision": revision,
        "splits": list(splits),
        "max_problems": max_problems,
        "drop_types": list(drop_types),
    }
    path = source_file(source)
    with stage.work(parameters, {"source": path} if path else {}) as work:
        return work.manifest if work.done else _download(work, parameters)


def _download(work: Work, parameters: dict[str, Any]) -> dict[str, Any]:
    dropped, by_split, by_type, by_source = (Counter[str]() for _ in range(4))
    chosen = _Chooser(parameters["drop_types"])
    rows_in = rows_out = 0
    path = work.folder / "problems.jsonl"
    with files.atomic_writer(path) as out:
        for split, row in read_source(parameters["source"], parameters["splits"], parameters["revision"]):
            if rows_out == parameters["max_problems"]:
                break
            rows_in += 1
            by_split[split] += 1
            problem, reason = chosen.choose(row, f"{parameters['source']}, {split} row {by_split[split]}")
            if problem is None:
                dropped[reason] += 1
                continue
            rows_out += 1
            by_type[str(problem.get("problem_type") or "unknown")] += 1
            by_source[str(problem.get("problem_source") or "unknown")] += 1
            out.write(files.dumps(problem))
            work.progress(rows_out, parameters["max_problems"])
        if not rows_out:
            raise SdgError(
                f"{parameters['source']}: no problem in {rows_in} rows (dropped: {dict(dropped)}). Choose another "
                "source, or other splits."
            )
    conflicting = chosen.merge_answers(path)
    return work.finish(
        rows_in=rows_in,
        rows_out=rows_out,
        dropped=dropped,
        outputs=[path],
        rows_by_split=dict(by_split),
        problems_by_type=dict(by_type.most_common()),
        problems_by_source=dict(by_source.most_common(1000)),
        conflicting_answers=conflicting,
    )


class _Chooser:
    """Decides which rows become problems. Holds three hashes per problem seen, not its text."""

    def __init__(self, drop_types: Sequence[str]):
        self._drop_types = set(drop_types)
        self._ids: dict[int, int] = {}  # hash of the id -> hash of the text
        self._answers: dict[int, int] = {}  # hash of the text -> hash of the answer, 0 for none
        self._later: dict[str, list[str]] = {}  # id -> answers of later copies that the first one does not have

    def choose(self, row: dict[str, Any], where: str) -> tuple[dict[str, Any] | None, str]:
        """Return (problem, "") or (None, reason for dropping the row). `where` names the row in errors.

        Raises SdgError for a row whose `problem` is not a text, and for an id used by two different problems.
        """
        text = row.get("problem")
        if not isinstance(text, str):
            raise SdgError(
                f"{where}: the key 'problem' must hold a text, not {text!r} (keys: "
                f"{', '.join(map(str, row)) or 'none'}). Fix this row, or rename the key."
            )
        if not text.strip():
            return None, "empty"
        if row.get("problem_type") in self._drop_types:
            return None, str(row["problem_type"])
        digest = int(files.content_id(text), 16)
        problem_id = str(row["id"]) if row.get("id") not in (None, "") else files.content_id(text)
        if self._ids.setdefault(int(files.content_id(problem_id), 16), digest) != digest:
            raise SdgError(
                f"{where}: the id {problem_id!r} is already used by another problem. Make the ids unique, or remove "
                "them: ids are then computed from the texts."
            )
        problem = self._problem(problem_id, text, row)
        answer = problem["expected_answer"]
        hashed = int(files.content_id(answer), 16) if answer else 0
        if digest in self._answers:
            if answer and hashed != self._answers[digest]:
                later = self._later.setdefault(problem_id, [])
                if answer not in later and len(later) < _MOST_ANSWERS:
                    later.append(answer)
            return None, "repeated"
        self._answers[digest] = hashed
        return problem, ""

    def merge_answers(self, path: Path) -> int:
        """Give the problems of a file the answers of their later copies; return how many have conflicting answers."""
        if not self._later:
            return 0
        conflicting = 0
        with files.atomic_writer(path) as out:
            for row in files.read_jsonl(path):
                answers = [answer for answer in (row["expected_answer"], *self._later.get(row["id"], ())) if answer]
                if len(group_answers(answers, row["problem"])) > 1:
                    row |= {"expected_answer": "", "conflicting_answers": answers}
                    conflicting += 1
                elif answers:
                    row["expected_answer"] = answers[0]
                out.write(files.dumps(row))
        return conflicting

    @staticmethod
    def _problem(problem_id: str, text: str, row: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in row.items() if key not in ("id", "problem", "expected_answer")}
        return {
            "id": problem_id,
            "problem": text,
            "expected_answer": clean_reference(row.get("expected_answer")),
            **rest,
        }
