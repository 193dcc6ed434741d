"""Stage 01: the problems, each once. One JSON object a line with `id`, `problem` and `expected_answer`; read in order,
found by id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.sources import read_source, source_file
from sdg_helpers.stages import Stage, Work

STAGE = ("problems", "math/01_download_problems")
SOURCE = "nvidia/OpenMathReasoning"
SPLITS = ("cot", "additional_problems")
_NO_ANSWER = ("", "n/a", "none")


def download_problems(
    folder: Path,
    *,
    source: str = SOURCE,
    revision: str | None = None,
    splits: Sequence[str] = SPLITS,
    max_problems: int | None = None,
    drop_types: Sequence[str] = ("converted_proof",),
) -> dict[str, Any]:
    """Write problems.jsonl: id, problem, expected_answer ("" when there is none), then what else is known of it.

    source: a dataset of the hub in OpenMathReasoning's schema, "demo", or the path of a .jsonl or .parquet file of
    one's own, whose rows need `problem` and may have an id. A problem that comes again is dropped: the `cot` split has
    a row for each of about ten solutions. drop_types: problem types to leave out. max_problems: stop after so many.
    Returns the manifest, with rows by split, type and source.
    """
    if max_problems is not None and max_problems < 1:
        raise SdgError(
            f"max_problems: expected 1 or more, or None for all (MAX_PROBLEMS: 0 for all), found {max_problems}."
        )
    parameters = {
        "source": source,
        "revision": revision,
        "splits": list(splits),
        "max_problems": max_problems,
        "drop_types": list(drop_types),
    }
    path = source_file(source)
    with Stage(folder, *STAGE).work(parameters, {"source": path} if path else {}) as work:
        return work.manifest if work.done else _download(work, parameters)


def _download(work: Work, parameters: dict[str, Any]) -> dict[str, Any]:
    dropped, by_split, by_type, by_source = Counter(), Counter(), Counter(), Counter()
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
                f"{parameters['source']}: expected at least one problem, found none in {rows_in} rows "
                f"(dropped: {dict(dropped)}). Give another source, or other splits."
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
    """Which rows become problems. Holds 8 bytes of every problem seen, not its text."""

    def __init__(self, drop_types: Sequence[str]):
        self._drop_types, self._ids, self._texts = set(drop_types), {}, set()

    def choose(self, row: dict[str, Any], where: str) -> tuple[dict[str, Any] | None, str]:
        """(problem, "") or (None, why not). Raises SdgError for a row that has no problem's text at all, and for an id
        that stands for two different problems."""
        text = row.get("problem")
        if not isinstance(text, str):
            raise SdgError(
                f"{where}: expected a text under the key 'problem', found {text!r} (keys: "
                f"{', '.join(map(str, row)) or 'none'}). Mend that row, or rename the key."
            )
        if not text.strip():
            return None, "empty"
        if row.get("problem_type") in self._drop_types:
            return None, str(row["problem_type"])
        digest = int(files.content_id(text), 16)
        problem_id = str(row["id"]) if row.get("id") not in (None, "") else files.content_id(text)
        if self._ids.setdefault(int(files.content_id(problem_id), 16), digest) != digest:
            raise SdgError(
                f"{where}: expected every id for one problem, found {problem_id!r} again with another text. "
                "Give the rows ids of their own, or none: then ids are made from the texts."
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
