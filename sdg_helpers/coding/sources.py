"""Read programming questions from the datasets that publish them.

OpenCodeReasoning-2 has no question texts. Each of its rows refers to a row of another dataset (dataset, split, index),
where the text and the tests are. The datasets' own files (parquet, arrow, jsonl) are read; no loading script is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sdg_helpers import hub
from sdg_helpers.coding.example_tests import clean_tests
from sdg_helpers.errors import SdgError, did_you_mean

REFERENCE_COLUMNS = ("question_id", "dataset", "split", "index", "source", "difficulty", "license")
_REFERENCE_FILES = (
    "train/{split}/train-*.parquet",
    "train/{split}/*.parquet",
    "train/{split}/*.jsonl",
    "train/{split}.jsonl",
)


@dataclass(frozen=True)
class Collection:
    """A dataset of questions.

    patterns: globs of its files, of which the first that matches is used. question, tests: take the text and the
    (input, output) pairs from a row.
    """

    repo: str
    patterns: tuple[str, ...]
    columns: tuple[str, ...]
    question: Callable[[Mapping[str, Any]], str]
    tests: Callable[[Mapping[str, Any]], list[tuple[Any, Any]]]


def read_references(repo: str, split: str, revision: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of OpenCodeReasoning-2, one per solution. Only REFERENCE_COLUMNS are downloaded.

    Raises SdgError when they cannot be read, or a row lacks one of the first four columns.
    """
    required = REFERENCE_COLUMNS[:4]
    for row in _rows(repo, _REFERENCE_FILES, split, REFERENCE_COLUMNS, revision):
        if missing := [name for name in required if row.get(name) in (None, "")]:
            raise SdgError(
                f"{repo}, split {split!r}: every row needs {', '.join(required)}, but one is without "
                f"{', '.join(missing)}. Give another REVISION, or a file of your own."
            )
        yield row


def find_collection(dataset: str) -> Collection:
    """Return the collection with this name. Raises SdgError for an unknown one."""
    if dataset not in COLLECTIONS:
        raise SdgError(
            f"dataset {dataset!r}: unknown; known are {', '.join(COLLECTIONS)}."
            f"{did_you_mean(dataset, COLLECTIONS)} Leave its rows out, or give a file of your own."
        )
    return COLLECTIONS[dataset]


def read_questions(
    dataset: str, split: str, wanted: Sequence[int], max_tests: int, max_test_bytes: int
) -> Iterator[tuple[int, str, list[dict[str, str]]]]:
    """Yield (index, question, tests) for the wanted rows of one split, in order. Missing rows are skipped.

    Raises SdgError when the dataset is unknown or cannot be read.
    """
    collection, remaining = find_collection(dataset), set(wanted)
    for index, row in enumerate(_rows(collection.repo, collection.patterns, split, collection.columns, None)):
        if index in remaining:
            remaining.discard(index)
            yield index, collection.question(row), clean_tests(collection.tests(row), max_tests, max_test_bytes)
        if not remaining:
            return


def _rows(
    repo: str, patterns: Sequence[str], split: str, columns: Sequence[str], revision: str | None
) -> Iterator[dict[str, Any]]:
    where = f"{repo}, split {split!r}" + (f", revision {revision!r}" if revision else "")
    patterns = [pattern.format(split=split) for pattern in patterns]
    return hub.read_dataset_files(repo, patterns, columns, what=where, revision=revision)


def _codeforces_text(row: Mapping[str, Any]) -> str:
    """Join the statement, input, output, examples and note, which that dataset keeps in separate columns."""
    parts = [row.get("description") or ""]
    if not parts[0].strip():
        return ""
    parts += [
        f"{title}\n\n{row[key]}"
        for title, key in (("Input", "input_format"), ("Output", "output_format"))
        if row.get(key)
    ]
    for example in row.get("examples") or ():
        parts.append(f"Example\n\nInput\n\n{example.get('input', '')}\n\nOutput\n\n{example.get('output', '')}")
    return "\n\n".join([*parts, *([f"Note\n\n{row['note']}"] if row.get("note") else [])])


def _json_tests(row: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return the pairs of TACO and APPS, which are JSON text. Tests that call a function (fn_name) are skipped."""
    try:
        given = orjson.loads(row.get("input_output") or "null")
    except orjson.JSONDecodeError:
        return []
    if not isinstance(given, dict) or given.get("fn_name"):
        return []
    return _pairs(given.get("inputs"), given.get("outputs"))


def _public_tests(row: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    given = row.get("public_tests") or {}
    return _pairs(given.get("input"), given.get("output"))


def _examples(row: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [(example.get("input"), example.get("output")) for example in row.get("examples") or ()]


def _pairs(inputs: Any, outputs: Any) -> list[tuple[Any, Any]]:
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        return []
    return list(zip(inputs, outputs, strict=True))


def _question(row: Mapping[str, Any]) -> str:
    return row.get("question") or ""


def _description(row: Mapping[str, Any]) -> str:
    return row.get("description") or ""


# Keys are the names that OpenCodeReasoning-2 uses.
COLLECTIONS = {
    "taco": Collection(
        "BAAI/TACO",
        ("ALL/{split}-*.parquet", "{split}/data-*.arrow"),
        ("question", "input_output"),
        _question,
        _json_tests,
    ),
    "apps": Collection(
        "codeparrot/apps",
        ("{split}.jsonl", "all/{split}-*.parquet"),
        ("question", "input_output"),
        _question,
        _json_tests,
    ),
    "code_contests": Collection(
        "deepmind/code_contests",
        ("data/{split}-*.parquet",),
        ("description", "public_tests"),
        _description,
        _public_tests,
    ),
    "open-r1/codeforces": Collection(
        "open-r1/codeforces",
        ("data/{split}-*.parquet",),
        ("description", "input_format", "output_format", "examples", "note"),
        _codeforces_text,
        _examples,
    ),
}
