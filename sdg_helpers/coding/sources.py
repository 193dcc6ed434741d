"""Read programming questions from the datasets that publish them.

OpenCodeReasoning-2 has no question texts. Each of its rows refers to a row of another dataset (dataset, split, index),
where the text and the tests are. The datasets' own files (parquet, arrow, jsonl) are read; no loading script is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdg_helpers import hub
from sdg_helpers.coding import published
from sdg_helpers.coding.example_tests import usable_tests
from sdg_helpers.coding.procedures import Procedure
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

    patterns: globs of its files, of which the first that matches is used. question, tests, procedure: take from a row
    the text, the (input, output) pairs, and how the tests are run.
    """

    repo: str
    patterns: tuple[str, ...]
    columns: tuple[str, ...]
    question: Callable[[Mapping[str, Any]], str]
    tests: Callable[[Mapping[str, Any]], list[tuple[Any, Any]]]
    procedure: Callable[[Mapping[str, Any]], Procedure]


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
) -> Iterator[tuple[int, str, list[dict[str, str]], Procedure]]:
    """Yield (index, question, tests, procedure) for the wanted rows of one split, in order. Missing rows are skipped.

    Raises SdgError when the dataset is unknown or cannot be read.
    """
    collection, remaining = find_collection(dataset), set(wanted)
    for index, row in enumerate(_rows(collection.repo, collection.patterns, split, collection.columns, None)):
        if index in remaining:
            remaining.discard(index)
            pairs, procedure = collection.tests(row), collection.procedure(row)
            tests, procedure = usable_tests(pairs, procedure, max_tests, max_test_bytes)
            yield index, collection.question(row), tests, procedure
        if not remaining:
            return


def _rows(
    repo: str, patterns: Sequence[str], split: str, columns: Sequence[str], revision: str | None
) -> Iterator[dict[str, Any]]:
    where = f"{repo}, split {split!r}" + (f", revision {revision!r}" if revision else "")
    patterns = [pattern.format(split=split) for pattern in patterns]
    return hub.read_dataset_files(repo, patterns, columns, what=where, revision=revision)


# Keys are the names that OpenCodeReasoning-2 uses.
COLLECTIONS = {
    "taco": Collection(
        "BAAI/TACO",
        ("ALL/{split}-*.parquet", "{split}/data-*.arrow"),
        ("question", "input_output", "starter_code", "time_limit", "memory_limit"),
        published.json_question,
        published.json_tests,
        published.json_procedure,
    ),
    "apps": Collection(
        "codeparrot/apps",
        ("{split}.jsonl", "all/{split}-*.parquet"),
        ("question", "input_output", "starter_code"),
        published.json_question,
        published.json_tests,
        published.json_procedure,
    ),
    "code_contests": Collection(
        "deepmind/code_contests",
        ("data/{split}-*.parquet",),
        ("description", "public_tests", "input_file", "output_file", "time_limit", "memory_limit_bytes"),
        published.contest_question,
        published.contest_tests,
        published.contest_procedure,
    ),
    "open-r1/codeforces": Collection(
        "open-r1/codeforces",
        ("data/{split}-*.parquet",),
        (
            "description",
            "input_format",
            "output_format",
            "interaction_format",
            "examples",
            "note",
            "official_tests",
            "input_mode",
            "generated_checker",
            "time_limit",
            "memory_limit",
        ),
        published.codeforces_question,
        published.codeforces_tests,
        published.codeforces_procedure,
    ),
}
