"""Read datasets as rows: streamed from the Hugging Face hub, or from a file. No repository's own code is ever run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    from huggingface_hub import HfFileSystem

Row = dict[str, Any]
_BATCH_ROWS = 500
_BLOCK = 1 << 20
_ACCESS = (
    "Check the name, the revision and the network; a private or gated repository needs HF_TOKEN in the environment, "
    "a mirror HF_ENDPOINT."
)


class MissingColumnError(SdgError):
    """A split lacks a column that was asked for."""


@contextmanager
def explain_errors(what: str, advice: str = "") -> Iterator[None]:
    """Turn any error of the hub, the network or a file format, which share no base class, into one SdgError.

    what: what is being read, to begin the message; advice: what else the user can do, to end it.
    """
    try:
        yield
    except SdgError:
        raise
    except Exception as error:
        message = f"{what}: cannot be read from the hub ({_cause(error)}). {_ACCESS} {advice}"
        raise SdgError(message.rstrip()) from error


def stream_split(
    repo: str,
    split: str,
    *,
    what: str,
    config: str | None = None,
    revision: str | None = None,
    columns: Sequence[str] | None = None,
    advice: str = "",
) -> Iterator[Row]:
    """Yield the rows of one split of a dataset, a row group at a time; only `columns` are downloaded (None: all).

    what, advice: as in `explain_errors`. Raises SdgError when the dataset, the split or a column cannot be read.
    """
    import datasets

    with explain_errors(what, advice):
        try:
            rows = datasets.load_dataset(
                repo, config, split=split, revision=revision, streaming=True, columns=list(columns) if columns else None
            )
            for batch in rows.with_format("arrow").iter(batch_size=_BATCH_ROWS):
                yield from batch.to_pylist()
        except Exception as error:
            cause = _cause(error)
            if columns and ("FieldRef" in cause or "column" in cause.lower()):
                message = f"{what}: expected the columns {', '.join(columns)}, but one is missing ({cause}). {advice}"
                raise MissingColumnError(message.rstrip()) from error
            if "Bad split" in cause:
                raise SdgError(f"{what}: there is no such split ({cause}).") from error
            raise


def read_dataset_files(
    repo: str, patterns: Sequence[str], columns: Sequence[str], *, what: str, revision: str | None = None
) -> Iterator[Row]:
    """Yield the rows of a dataset's files (.parquet, .arrow, .jsonl): those of the first pattern with a match.

    columns: those to download; the first one is required, the others are left out where a file lacks them. what: as in
    `explain_errors`. Raises SdgError when no file matches, a file lacks the first column, or reading fails.
    """
    from huggingface_hub import HfFileSystem

    with explain_errors(what, "Nothing was written."):
        hub = HfFileSystem()
        root = f"datasets/{repo}" + (f"@{revision}" if revision else "")
        if not hub.exists(root):
            raise FileNotFoundError(root)
        for path in _first_match(hub, root, patterns, what):
            yield from _READERS[path.rpartition(".")[2]](hub, path, columns)


def _first_match(hub: HfFileSystem, root: str, patterns: Sequence[str], what: str) -> list[str]:
    for pattern in patterns:
        if found := sorted(hub.glob(f"{root}/{pattern}")):
            return found
    raise SdgError(
        f"{what}: no file matches {' or '.join(patterns)}. The dataset's layout may have changed: give "
        "another revision, or a file of your own."
    )


def _parquet_rows(hub: HfFileSystem, path: str, columns: Sequence[str]) -> Iterator[Row]:
    """Download the wanted columns only, in one range request per column and row group."""
    import pyarrow.parquet as parquet

    with hub.open(path, "rb", cache_type="none") as file:
        table = parquet.ParquetFile(file, pre_buffer=True)
        present = _present(columns, table.schema_arrow.names, path)
        for batch in table.iter_batches(columns=present, batch_size=_BATCH_ROWS, use_threads=False):
            yield from batch.to_pylist()


def _arrow_rows(hub: HfFileSystem, path: str, columns: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa

    with hub.open(path, "rb", block_size=0) as file, pa.ipc.open_stream(file) as stream:
        present = _present(columns, stream.schema.names, path)
        for batch in stream:
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield from batch.select(present).slice(start, _BATCH_ROWS).to_pylist()


def _jsonl_rows(hub: HfFileSystem, path: str, columns: Sequence[str]) -> Iterator[Row]:
    with io.BufferedReader(hub.open(path, "rb", block_size=0), _BLOCK) as file:
        for number, line in enumerate(file, 1):
            row = files.parse_row(line, path, number)
            _present(columns, row, path)
            yield {name: row.get(name) for name in columns}


_READERS = {"parquet": _parquet_rows, "arrow": _arrow_rows, "jsonl": _jsonl_rows}


def _present(wanted: Sequence[str], available: Sequence[str] | Row, path: str) -> list[str]:
    """Return the wanted columns that are available. Raises SdgError when the first one is not."""
    present = [name for name in wanted if name in available]
    if wanted[0] not in present:
        raise SdgError(
            f"{path}: expected the columns {', '.join(wanted)}, found {', '.join(present) or 'none'} of them. The "
            "dataset may have changed: give another revision, or a file of your own."
        )
    return present


def _cause(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]
