"""Read programming questions that a dataset, OpenCodeReasoning-2, only refers to: each from the dataset that has it."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from sdg_helpers import exact_json, files
from sdg_helpers.coding.code_question import CodeQuestion, ReadCounts
from sdg_helpers.coding.procedures import read_procedure
from sdg_helpers.coding.sources import find_collection, read_questions, read_references
from sdg_helpers.errors import SdgError
from sdg_helpers.stages import Work

_ABOUT = ("dataset", "split", "index", "difficulty", "license")


def questions_of_references(work: Work, parameters: dict[str, Any], read: ReadCounts) -> Iterator[CodeQuestion]:
    """Read the references (small), then each split that they name once; keep the texts on disk to restore the order."""
    references = _first_occurrences(parameters, read)
    places: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, (_, about) in enumerate(references):
        places[about["dataset"], about["split"]][about["index"]].append(position)
    for dataset, _ in places:
        find_collection(dataset)  # reject an unknown one before anything is downloaded
    where: dict[int, tuple[int, int]] = {}  # position of a reference -> (offset, length) of its text on disk
    shutil.rmtree(work.folder / "partial", ignore_errors=True)
    with files.AppendLog(work.folder / "partial" / "texts.jsonl") as log:
        for (dataset, split), wanted in places.items():
            for index, text, tests, procedure in read_questions(
                dataset, split, sorted(wanted), parameters["max_tests"], parameters["max_test_bytes"]
            ):
                line, start = files.dumps({"text": text, "tests": tests, **procedure.as_row()}), log.size
                log.append(line)
                where.update({position: (start, len(line)) for position in wanted[index]})
                work.progress(len(where), len(references), force=False)
    with open(work.folder / "partial" / "texts.jsonl", "rb") as texts:
        for position, (question_id, about) in enumerate(references):
            offset, length = where.get(position, (0, 0))
            found = (
                exact_json.loads(os.pread(texts.fileno(), length, offset)) if length else {"text": None, "tests": []}
            )
            yield CodeQuestion(question_id, found["text"], found["tests"], about, read_procedure(found))


def _first_occurrences(parameters: dict[str, Any], read: ReadCounts) -> list[tuple[str, dict[str, Any]]]:
    """Return (question_id, its other keys) for each question, in order of first rows; about 1 KB per question."""
    first: dict[str, dict[str, Any]] = {}
    for split in parameters["splits"]:
        for row in read_references(parameters["source"], split, parameters["revision"]):
            if len(first) == parameters["max_questions"] and str(row["question_id"]) not in first:
                return list(first.items())
            read.rows += 1
            if str(row["question_id"]) in first:
                read.repeated += 1
            else:
                first[str(row["question_id"])] = _about(row, parameters["source"])
    if not first:
        raise SdgError(
            f"{parameters['source']}: the splits {', '.join(parameters['splits'])} are empty. Give other SPLITS."
        )
    return list(first.items())


def _about(row: dict[str, Any], source: str) -> dict[str, Any]:
    try:
        index = int(row["index"])
    except ValueError:
        raise SdgError(
            f"{source}, question {row['question_id']!r}: its index {row['index']!r} is not a number. "
            "Give another REVISION."
        ) from None
    return {
        "problem_source": row.get("source"),
        **{key: row[key] for key in _ABOUT if row.get(key) is not None},
        "index": index,
    }
