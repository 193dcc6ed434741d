"""Where problems come from: a dataset on the hub, a file of the user's, or the demo set in the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files, hub, paths
from sdg_helpers.errors import SdgError
from sdg_helpers.paths import PACKAGE

# The columns that describe a problem. The others describe one solution of it (generation_model, generated_solution,
# inference_mode, used_in_kaggle) and are not downloaded.
COLUMNS = ("problem", "expected_answer", "problem_type", "problem_source", "pass_rate_72b_tir")
DEMO = PACKAGE / "data" / "demo"
_SUFFIXES = (".jsonl", ".parquet")


def read_source(
    source: str, splits: Sequence[str], revision: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (split, row) for every row, reading lazily; the split of a file's rows is "file".

    source: "demo", the path of a .jsonl or .parquet file, or a dataset on the hub. Raises SdgError when it cannot be
    read.
    """
    if source == "demo":
        for split in splits:
            yield from ((split, {name: row[name] for name in COLUMNS}) for row in files.read_jsonl(_demo_file(split)))
    elif path := source_file(source):
        yield from (("file", row) for row in hub.read_file(path))
    else:
        for split in splits:
            yield from ((split, row) for row in _hub_rows(source, split, revision))


def source_file(source: str) -> Path | None:
    """Return the path of a source that is a file, else None.

    Raises SdgError when the file does not exist or is neither .jsonl nor .parquet.
    """
    path = paths.resolve_path(source)
    if source == "demo" or not (source.endswith(_SUFFIXES) or path.is_file()):
        return None
    if not path.is_file():
        raise SdgError(
            f"{path}: no such file. Set SOURCE to an existing file of problems: an absolute path, or one relative to "
            "the root of the clone."
        )
    if path.suffix not in _SUFFIXES:
        raise SdgError(
            f"{path}: a file of problems must be .jsonl or .parquet, not {path.suffix or 'without a suffix'}. "
            "Convert it, or set SOURCE to another file."
        )
    return path


def _demo_file(split: str) -> Path:
    path = DEMO / f"{split}.jsonl"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in DEMO.glob("*.jsonl")))
        raise SdgError(f"demo: there is no split {split!r}; choose SPLITS from {known}.")
    return path


def _hub_rows(repo: str, split: str, revision: str | None) -> Iterator[dict[str, Any]]:
    return hub.stream_split(
        repo,
        split,
        what=f"{repo}, split {split!r}" + (f", revision {revision!r}" if revision else ""),
        revision=revision,
        columns=COLUMNS,
        advice="Give a dataset in the schema of nvidia/OpenMathReasoning, or a file. Nothing was written.",
    )
