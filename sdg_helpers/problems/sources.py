"""Where problems come from: a dataset on the hub, a file of the user's, or the demo set in the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sdg_helpers import files, hub, paths
from sdg_helpers.errors import SdgError
from sdg_helpers.paths import PACKAGE
from sdg_helpers.row_files.reading import FORMATS, find_format, format_of, read_rows
from sdg_helpers.row_files.table_rows import plain_row
from sdg_helpers.row_files.values import BadRow

# The columns of OpenMathReasoning that describe a problem. The others describe one solution of it (generation_model,
# generated_solution, inference_mode, used_in_kaggle) and are not downloaded.
COLUMNS = ("problem", "expected_answer", "problem_type", "problem_source", "pass_rate_72b_tir")
DEMO = PACKAGE / "data" / "demo"

Placed = tuple[str, str, dict[str, Any] | BadRow]  # split, place in the split, row


def read_source(source: str, splits: Sequence[str], revision: str | None = None) -> Iterator[Placed]:
    """Yield (split, place, row) for every row, reading lazily; the split of a file's rows is "file".

    source: "demo", the path of a file, or a dataset on the hub, `owner/name` or `owner/name:config`. Raises SdgError
    when it cannot be read.
    """
    if source == "demo":
        for split in splits:
            for number, row in enumerate(files.read_jsonl(_demo_file(split)), 1):
                yield split, f"row {number}", {name: row[name] for name in COLUMNS}
    elif path := source_file(source):
        yield from (("file", place, row) for place, row in read_rows(path))
    else:
        for split in splits:
            for number, row in enumerate(_hub_rows(source, split, revision), 1):
                yield split, f"row {number}", row


def source_file(source: str) -> Path | None:
    """Return the path of a source that is a file, else None.

    Raises SdgError when the file does not exist, is a folder, or has an unknown format.
    """
    path = paths.resolve_path(source)
    if source == "demo":
        return None
    if not (find_format(source) or path.exists() or source.startswith((".", "/", "~"))):
        return None
    if path.is_dir():
        raise SdgError(f"{path}: is a folder. Set SOURCE to one file in it ({', '.join(FORMATS)}).")
    if not path.is_file():
        raise SdgError(
            f"{path}: no such file. Set SOURCE to an existing file of problems: an absolute path, or one relative to "
            "the root of the clone."
        )
    format_of(path)
    return path


def _demo_file(split: str) -> Path:
    path = DEMO / f"{split}.jsonl"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in DEMO.glob("*.jsonl")))
        raise SdgError(f"demo: there is no split {split!r}; choose SPLITS from {known}.")
    return path


def _hub_rows(source: str, split: str, revision: str | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split: the columns of OpenMathReasoning's schema if it has them, else all columns."""
    repo, _, config = source.partition(":")

    def stream(columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        return hub.stream_split(
            repo,
            split,
            what=f"{repo}, split {split!r}" + (f", revision {revision!r}" if revision else ""),
            config=config or None,
            revision=revision,
            columns=columns,
            advice="Give another dataset, split or configuration (owner/name:config), or a file. Nothing was written.",
        )

    rows = stream(COLUMNS)
    try:
        first = list(islice(rows, 1))
    except hub.MissingColumnError:
        rows, first = stream(None), []
    for row in chain(first, rows):
        yield plain_row(row)
