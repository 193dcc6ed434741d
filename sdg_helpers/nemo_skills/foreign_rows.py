"""Read the rows of a folder in the layout of NeMo-Skills, whichever tool wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.thinking import normalise_reasoning
from sdg_helpers.errors import SdgError
from sdg_helpers.solutions.rows import GENERATED_KEYS, solution_line
from sdg_helpers.solutions.seed_files import seed_files

# Keys that a solution or a later stage adds to a problem's row. Times of generation are not kept: they say nothing
# about the data.
_ADDED_KEYS = {
    *GENERATED_KEYS,
    "reasoning_content",
    "num_generated",
    "generation_start_time",
    "generation_end_time",
    "generation_time",
    "_async_position",
    "predicted_answer",
    "judgement",
    "updated_answer_from_r1",
    "original_expected_answer",
    "votes",
    "total_votes",
    "label_decision",
    "label_reason",
    "label_tied",
    "label_confidence",
    "symbolic_correct",
}
_UNFINISHED = (("output*_chunk_*.jsonl", "merge its chunks"), ("output*.jsonl-async", "finish it"))


def finished_files(folder: Path) -> dict[int, Path]:
    """Return the finished files by seed. Raises SdgError when any file is unfinished or unmerged."""
    for pattern, remedy in _UNFINISHED:
        for path in folder.glob(pattern):
            merged = path.name.partition("_chunk_")[0].removesuffix(".jsonl-async") + ".jsonl"
            if not path.with_name(merged).exists():
                raise SdgError(
                    f"{path}: unfinished work cannot be imported. Let NeMo-Skills {remedy} first, or move it away."
                )
    found = seed_files(folder)
    for path in found.values():
        if not path.with_name(path.name + ".done").exists():
            raise SdgError(
                f"{path}: may be incomplete, because there is no {path.name}.done beside it. Let NeMo-Skills finish "
                f"it; if you know that it is complete, `touch {path}.done`."
            )
    return found


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file. A row without an id gets one from the text of its problem.

    Raises SdgError when a row has no text under the key `problem`.
    """
    for number, row in enumerate(files.read_jsonl(path), 1):
        if not isinstance(row.get("problem"), str):
            raise SdgError(
                f"{path}, row {number}: needs a text under the key 'problem', found {row.get('problem')!r}. "
                "Give files of a math recipe."
            )
        row.setdefault("id", files.content_id(row["problem"]))
        yield row


def problem_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the problem of a row of any stage, with its original expected answer."""
    answer = row.get("original_expected_answer", row.get("expected_answer"))
    rest = {
        key: value
        for key, value in row.items()
        if key not in _ADDED_KEYS and key not in ("id", "problem", "expected_answer")
    }
    return {
        "id": row["id"],
        "problem": row["problem"],
        "expected_answer": "" if answer is None else str(answer),
        **rest,
    }


def our_solution_line(row: dict[str, Any], seed: int) -> bytes:
    """Return a row's solution in our format. Separate thinking (`reasoning_content`) goes before the answer."""
    return solution_line(
        problem_of(row),
        seed=seed,
        generation=normalise_reasoning(row.get("generation"), row.get("reasoning_content")),
        finish_reason=str(row.get("finish_reason") or "unknown"),
        num_generated_tokens=int(row.get("num_generated_tokens") or 0),
    )
