"""Programming questions where they are published: OpenCodeReasoning-2 names a place (dataset, split, index), and the
text stands there. Files are read as they lie on the hub (parquet, arrow, jsonl); no loading script is run."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sdg_helpers import files
from sdg_helpers.coding.example_tests import clean_tests
from sdg_helpers.errors import SdgError, did_you_mean

REFERENCE_COLUMNS = ("question_id", "dataset", "split", "index", "source", "difficulty", "license")
_REFERENCE_FILES = (
    "train/{split}/train-*.parquet",
    "train/{split}/*.parquet",
    "train/{split}/*.jsonl",
    "train/{split}.jsonl",
)
_BATCH = 500


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
    from huggingface_hub import HfFileSystem

    where = f"{repo}, split {split!r}" + (f", revision {revision!r}" if revision else "")
    try:
        hub = HfFileSystem()
        root = f"datasets/{repo}" + (f"@{revision}" if revision else "")
        for path in _files(hub, root, [pattern.format(split=split) for pattern in patterns], where):
            yield from _READERS[path.rpartition(".")[2]](hub, path, columns)
    except SdgError:
        raise
    except Exception as error:  # the hub's, the network's and the formats' errors have no common type
        told = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise SdgError(
            f"{where}: expected a dataset that the hub lets us read, found none ({told}). Check the name, "
            "the revision and the network; a private or gated one needs HF_TOKEN in the environment, a "
            "mirror HF_ENDPOINT. Nothing was written."
        ) from error


def _files(hub: Any, root: str, patterns: Sequence[str], where: str) -> list[str]:
    if not hub.exists(root):
        raise FileNotFoundError(root)
    for pattern in patterns:
        if found := sorted(hub.glob(f"{root}/{pattern}")):
            return found
    raise SdgError(
        f"{where}: expected files such as {' or '.join(patterns)}, found none. The dataset may have been "
        "laid out anew: give the questions as a file of your own."
    )


def _parquet_rows(hub: Any, path: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Only the wanted columns are fetched, each in one piece a row group."""
    import pyarrow.parquet as parquet

    with hub.open(path, "rb", cache_type="none") as file:
        table = parquet.ParquetFile(file, pre_buffer=True)
        present = [name for name in columns if name in table.schema_arrow.names]
        for batch in table.iter_batches(columns=_held(present, columns, path), batch_size=_BATCH, use_threads=False):
            yield from batch.to_pylist()


def _arrow_rows(hub: Any, path: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    with hub.open(path, "rb", block_size=0) as file, pa.ipc.open_stream(file) as stream:
        present = _held([name for name in columns if name in stream.schema.names], columns, path)
        for batch in stream:
            for start in range(0, batch.num_rows, _BATCH):
                yield from batch.select(present).slice(start, _BATCH).to_pylist()


def _jsonl_rows(hub: Any, path: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with io.BufferedReader(hub.open(path, "rb", block_size=0), 1 << 20) as file:
        for number, line in enumerate(file, 1):
            row = files.parse_row(line, path, number)
            _held([name for name in columns if name in row], columns, path)
            yield {name: row.get(name) for name in columns}


_READERS = {"parquet": _parquet_rows, "arrow": _arrow_rows, "jsonl": _jsonl_rows}


def _held(present: list[str], columns: Sequence[str], path: str) -> list[str]:
    """The columns that are there; the first of the wanted ones must be."""
    if columns[0] not in present:
        raise SdgError(
            f"{path}: expected the columns {', '.join(columns)}, found {', '.join(present) or 'none'} of "
            "them. The dataset may have changed: give another revision, or a file of your own."
        )
    return present


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
