"""Programming questions where they are published: OpenCodeReasoning-2 names a place (dataset, split, index), and the
text stands there. Files are read as they lie on the hub (parquet, arrow, jsonl); no loading script is run."""

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
    """A dataset of questions: where its files are (the first pattern that has some counts), and how to read a row."""

    repo: str
    patterns: tuple[str, ...]
    columns: tuple[str, ...]
    question: Callable[[Mapping[str, Any]], str]
    tests: Callable[[Mapping[str, Any]], list[tuple[Any, Any]]]


def read_references(repo: str, split: str, revision: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows of OpenCodeReasoning-2, one a solution, without their texts: only REFERENCE_COLUMNS are fetched."""
    needed = REFERENCE_COLUMNS[:4]
    for row in _rows(repo, _REFERENCE_FILES, split, REFERENCE_COLUMNS, revision):
        if missing := [name for name in needed if row.get(name) in (None, "")]:
            raise SdgError(
                f"{repo}, split {split!r}: expected {', '.join(needed)} in every row, found a row without "
                f"{', '.join(missing)}. Give another REVISION, or a file of your own."
            )
        yield row


def collection(dataset: str) -> Collection:
    """The collection of a name; raises SdgError for one that we do not know."""
    if dataset not in COLLECTIONS:
        raise SdgError(
            f"dataset {dataset!r}: expected one of {', '.join(COLLECTIONS)}."
            f"{did_you_mean(dataset, COLLECTIONS)} Leave its rows out, or give a file of your own."
        )
    return COLLECTIONS[dataset]


def read_questions(
    dataset: str, split: str, wanted: Sequence[int], max_tests: int, max_test_bytes: int
) -> Iterator[tuple[int, str, list[dict[str, str]]]]:
    """(index, question, its tests) of the wanted rows of one split, in order; rows that are not there are left out.

    Raises SdgError for a dataset that we do not know, and when it cannot be read.
    """
    of, left = collection(dataset), set(wanted)
    for index, row in enumerate(_rows(of.repo, of.patterns, split, of.columns, None)):
        if index in left:
            left.discard(index)
            yield index, of.question(row), clean_tests(of.tests(row), max_tests, max_test_bytes)
        if not left:
            return


def _rows(
    repo: str, patterns: Sequence[str], split: str, columns: Sequence[str], revision: str | None
) -> Iterator[dict[str, Any]]:
    where = f"{repo}, split {split!r}" + (f", revision {revision!r}" if revision else "")
    patterns = [pattern.format(split=split) for pattern in patterns]
    return hub.read_dataset_files(repo, patterns, columns, what=where, revision=revision)


def _codeforces_text(row: Mapping[str, Any]) -> str:
    """Statement, input, output, examples, note: the parts that stand apart in that dataset."""
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
    """Pairs of TACO and APPS: JSON text with inputs and outputs. Calls of a function (fn_name) read no input."""
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


# By the names that OpenCodeReasoning-2 has for them.
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
