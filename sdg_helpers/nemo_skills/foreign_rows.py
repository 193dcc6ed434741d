"""Read the rows of a folder in the layout of NeMo-Skills, whichever tool wrote it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.thinking import normalise_reasoning
from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import BLOCK, Recorder
from sdg_helpers.nemo_skills.row_checks import check_file, check_row
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
_CHUNK = re.compile(r"output-rs([0-9]+)_chunk_([0-9]+)\.jsonl")
_MAX_SEED = 999_999_999
Sources = Mapping[int, Sequence[Path]]  # the files of each seed, in order


def finished_files(folder: Path, problems: Path) -> Sources:
    """Return the finished files by seed: one, or its chunks where NeMo-Skills has not merged them yet.

    problems: problems.jsonl of the folder that is imported; files outside it are refused. Chunks are taken if all are
    done and together have a row for each of its problems: their names do not say how many there should be. Raises
    SdgError when any file is unfinished or a chunk may be missing.
    """
    for path in folder.glob("output*.jsonl-async"):
        if not path.with_name(path.name.removesuffix("-async")).exists():
            raise SdgError(
                f"{path}: unfinished work cannot be imported. Let NeMo-Skills finish it first, or move it away."
            )
    found: dict[int, list[Path]] = {seed: [path] for seed, path in seed_files(folder).items()}
    found.update(_chunks(folder, problems, set(found)))
    if found and max(found) > _MAX_SEED:
        raise SdgError(f"{found[max(found)][0]}: the seed must be at most {_MAX_SEED:,}. Rename the file.")
    for path in (path for paths in found.values() for path in paths):
        check_file(path, problems.parent)
        if not path.with_name(path.name + ".done").exists():
            raise SdgError(
                f"{path}: may be incomplete, because there is no {path.name}.done beside it. Let NeMo-Skills finish "
                f"it; if you know that it is complete, `touch {path}.done`."
            )
    return dict(sorted(found.items()))


def _chunks(folder: Path, problems: Path, merged: set[int]) -> dict[int, list[Path]]:
    """Return the chunks of the seeds that are not merged, in order."""
    chunks: dict[int, dict[int, Path]] = {}
    for path in folder.glob("output-rs*_chunk_*.jsonl"):
        match = _CHUNK.fullmatch(path.name)
        if match and int(match[1]) not in merged:
            chunks.setdefault(int(match[1]), {})[int(match[2])] = check_file(path, problems.parent)
    for paths in chunks.values():
        first = paths[min(paths)]
        remedy = "Let NeMo-Skills finish and merge its chunks, or move them away."
        if not problems.exists():
            raise SdgError(
                f"{first}: nothing says how many chunks there should be. {remedy} Or put the input as {problems.name} "
                f"into {problems.parent}."
            )
        check_file(problems, problems.parent)
        rows, wanted = sum(map(_count_rows, paths.values())), _count_rows(problems)
        if rows != wanted or sorted(paths) != list(range(len(paths))):
            raise SdgError(
                f"{first}: {len(paths)} chunks have {rows} rows for {wanted} problems of {problems}. {remedy}"
            )
    return {seed: [paths[number] for number in sorted(paths)] for seed, paths in chunks.items()}


def _count_rows(path: Path) -> int:
    with open(path, "rb", buffering=1 << 20) as file:
        return sum(not line.isspace() for line in file)


def all_paths(sources: Sources) -> dict[str, Path]:
    """Return every file by name."""
    return {path.name: path for paths in sources.values() for path in paths}


def read_rows(paths: Sequence[Path], read: dict[Path, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of files, one file after the other. A row without an id gets one from the text of its problem.

    read: gets each file's fingerprint. Raises SdgError when a row has no text under the key `problem`, or a value of
    another type than its key has.
    """
    for path in paths:
        recorder = Recorder()
        with files.open_rows(path, buffering=BLOCK) as file:
            for number, row in enumerate(files.parse_rows(recorder.watch(file), path), 1):
                check_row(row, path, number)
                if row.get("id") is None:
                    row["id"] = files.content_id(row["problem"])
                yield row
            read[path] = recorder.fingerprint(os.fstat(file.fileno()))


def answer_text(answer: str | int | float | None) -> str:
    """Return an answer as text, "" for none."""
    return "" if answer is None else str(answer)


def problem_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the problem of a row of any stage, with its original expected answer."""
    answer = row.get("original_expected_answer")
    if answer is None:
        answer = row.get("expected_answer")
    rest = {
        key: value
        for key, value in row.items()
        if key not in _ADDED_KEYS and key not in ("id", "problem", "expected_answer")
    }
    return {
        "id": row["id"],
        "problem": row["problem"],
        "expected_answer": answer_text(answer),
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
