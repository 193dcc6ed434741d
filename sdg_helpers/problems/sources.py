"""Where problems come from: the hub's dataset, a file of one's own, or the set that ships with the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files, paths
from sdg_helpers.errors import SdgError
from sdg_helpers.paths import PACKAGE

# What the hub's rows say of a problem. The other columns say how one solution of it was made (generation_model,
# generated_solution, inference_mode, used_in_kaggle): they are not even fetched.
COLUMNS = ("problem", "expected_answer", "problem_type", "problem_source", "pass_rate_72b_tir")
DEMO = PACKAGE / "data" / "demo"
_SUFFIXES = (".jsonl", ".parquet")
_BATCH = 1000


def read_source(source: str, splits: Sequence[str], revision: str | None = None) -> Iterator[tuple[str, dict]]:
    """(split, row) of every row. source: "demo", the path of a .jsonl or .parquet file, or a dataset of the hub.

    Rows are read as they are asked for. Raises SdgError when the source cannot be had.
    """
    if source == "demo":
        for split in splits:
            path = DEMO / f"{split}.jsonl"
            if not path.exists():
                raise _no_split(source, split, [one.stem for one in sorted(DEMO.glob("*.jsonl"))])
            yield from ((split, {name: row[name] for name in COLUMNS}) for row in files.read_jsonl(path))
    elif path := source_file(source):
        yield from (("file", row) for row in _file_rows(path))
    else:
        for split in splits:
            yield from ((split, row) for row in _hub_rows(source, split, revision))


def source_file(source: str) -> Path | None:
    """The file behind a source that is one, else None. Raises SdgError for one that is not there or of another kind."""
    path = paths.resolve_path(source)
    if source == "demo" or not (source.endswith(_SUFFIXES) or path.is_file()):
        return None
    if not path.is_file():
        raise SdgError(
            f"{path}: expected a file of problems, found none. Give SOURCE a file that exists: an absolute "
            "path, or one from the root of the clone."
        )
    if path.suffix not in _SUFFIXES:
        raise SdgError(
            f"{path}: expected .jsonl or .parquet, found {path.suffix or 'a name without either'}. Give "
            "SOURCE a file of one of these kinds."
        )
    return path


def _file_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".jsonl":
        yield from files.read_jsonl(path)
        return
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise SdgError(
            f"{path}: expected a parquet file with the column `problem`, found that it cannot be read "
            f"({error}). Give the right path."
        ) from None
    for batch in table.iter_batches(batch_size=_BATCH, use_threads=False):
        yield from batch.to_pylist()


def _hub_rows(repo: str, split: str, revision: str | None) -> Iterator[dict[str, Any]]:
    """Rows of one split, streamed: only the columns that we keep are fetched, a row group at a time."""
    import datasets

    try:
        rows = datasets.load_dataset(repo, split=split, revision=revision, streaming=True, columns=list(COLUMNS))
        for batch in rows.with_format("arrow").iter(batch_size=_BATCH):
            yield from batch.to_pylist()
    except Exception as error:  # the hub's, the network's and parquet's errors have no common type
        raise _explained(error, repo, split, revision) from error


def _explained(error: Exception, repo: str, split: str, revision: str | None) -> SdgError:
    told = " ".join(f"{type(error).__name__}: {error}".split())[:400]
    where = f"{repo}, split {split!r}" + (f", revision {revision!r}" if revision else "")
    if "FieldRef" in told or "column" in told.lower():
        return SdgError(
            f"{where}: expected the columns {', '.join(COLUMNS)}, found others ({told}). Give a dataset in "
            "the schema of nvidia/OpenMathReasoning, or a file of your own."
        )
    if "split" in told.lower():
        return _no_split(repo, split, [], told)
    return SdgError(
        f"{where}: expected a dataset that the hub lets us read, found none ({told}). Check the name, the "
        "revision and the network; a private or gated one needs HF_TOKEN in the environment, a mirror "
        "HF_ENDPOINT. Nothing was written."
    )


def _no_split(source: str, split: str, known: Sequence[str], told: str = "") -> SdgError:
    there = ", ".join(known) or told
    return SdgError(f"{source}: expected the split {split!r}, found {there or 'none of that name'}. Give other SPLITS.")
