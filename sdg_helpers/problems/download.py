"""Stage 01: write each problem once to problems.jsonl, with `id`, `problem` and `expected_answer`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.sources import read_source, source_file
from sdg_helpers.stages import Stage, Work

SOURCE = "nvidia/OpenMathReasoning"
SPLITS = ("cot", "additional_problems")
_NO_ANSWER = ("", "n/a", "none")


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
    problem, one for each solution. drop_types: problem types to drop. max_problems: stop after this many; None for all.
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
    return work.finish(
        rows_in=rows_in,
        rows_out=rows_out,
        dropped=dropped,
        outputs=[path],
        rows_by_split=dict(by_split),
        problems_by_type=dict(by_type.most_common()),
        problems_by_source=dict(by_source.most_common(1000)),
    )


class _Chooser:
    """Decides which rows become problems. Holds 8 bytes per problem seen, not its text."""

    def __init__(self, drop_types: Sequence[str]):
        self._drop_types = set(drop_types)
        self._ids: dict[int, int] = {}  # hash of the id -> hash of the text
        self._texts: set[int] = set()

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
        if digest in self._texts:
            return None, "repeated"
        self._texts.add(digest)
        return self._problem(problem_id, text, row), ""

    @staticmethod
    def _problem(problem_id: str, text: str, row: dict[str, Any]) -> dict[str, Any]:
        answer = "" if row.get("expected_answer") is None else str(row["expected_answer"]).strip()
        rest = {key: value for key, value in row.items() if key not in ("id", "problem", "expected_answer")}
        return {
            "id": problem_id,
            "problem": text,
            "expected_answer": "" if answer.lower() in _NO_ANSWER else answer,
            **rest,
        }
