"""Read the questions of benchmarks, which training data must not contain, from files or from the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import hub, paths
from sdg_helpers.errors import SdgError
from sdg_helpers.row_files.opening import COMPRESSED
from sdg_helpers.row_files.reading import FORMATS, find_format, read_rows
from sdg_helpers.row_files.values import BadRow, Number

_KEYS = ("question", "problem", "Question", "Problem", "prompt", "input", "text")


@dataclass(frozen=True)
class BenchmarkSource:
    """Where a benchmark's questions are.

    name: the path of a file (see row_files), or a dataset on the hub; revision, config, split: of the dataset;
    key: the column with the question's text, "" to find it by name.
    """

    name: str
    revision: str = ""
    config: str = ""
    split: str = "test"
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> BenchmarkSource:
        """Parse `path/to/questions.jsonl`, `path/to/questions.parquet#column`, `owner/name`, `owner/name:split` or
        `owner/name@revision:config:split#column`. Raises SdgError for anything else."""
        name, _, key = text.strip().partition("#")
        if find_format(name):
            return cls(name, key=key)
        name, *more = name.split(":")
        repo, _, revision = name.partition("@")
        if repo.count("/") != 1 or len(more) > 2 or not all(repo.split("/")):
            raise SdgError(
                f"benchmark {text!r} is neither the path of a file ({', '.join(FORMATS)}) nor a dataset on the hub, "
                "such as TIGER-Lab/MMLU-Pro:test#question (owner/name@revision:config:split#column)."
            )
        config, split = (more[0], more[1]) if len(more) == 2 else ("", more[0] if more else "test")
        return cls(repo, revision, config, split, key)

    @property
    def path(self) -> Path | None:
        """The file; None for a dataset on the hub."""
        return paths.resolve_path(self.name) if find_format(self.name) else None

    @property
    def label(self) -> str:
        """A short name for reports."""
        if not self.path:
            return self.name
        return Path(self.path.stem).stem if self.path.suffix.lower() in COMPRESSED else self.path.stem

    def questions(self) -> Iterator[str]:
        """Yield the questions in order; rows without one are skipped.

        Raises SdgError when the benchmark cannot be read, has no column of questions, or no questions.
        """
        key, found = self.key, 0
        for row in self._rows():
            key = key or self._find_key(row)
            if key not in row:
                raise SdgError(
                    f"benchmark {self.name}: a row has no key {key!r}, only {', '.join(map(str, row))}. "
                    f"Name the key of the questions: {self.name}#KEY."
                )
            text = row[key]
            if isinstance(text, str) and not isinstance(text, Number) and text.strip():
                found += 1
                yield text.strip()
        if not found:
            raise SdgError(f"benchmark {self.name} has no questions. Give another file, split or key.")

    def _find_key(self, row: dict[str, Any]) -> str:
        found = next((key for key in _KEYS if isinstance(row.get(key), str)), None)
        if found is None:
            raise SdgError(
                f"benchmark {self.name}: none of the keys {', '.join(map(str, row))} is one of "
                f"{', '.join(_KEYS)}. Name the key of the questions: {self.name}#KEY."
            )
        return found

    def _rows(self) -> Iterator[dict[str, Any]]:
        if self.path is not None:
            return _file_rows(self.path)
        return hub.stream_split(
            self.name,
            self.split,
            what=f"benchmark {self.name}, split {self.split!r}",
            config=self.config or None,
            revision=self.revision or None,
            advice="Or give a file of its questions. Nothing was written.",
        )


def _file_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file. One that cannot be read is an error: its question could not be kept out."""
    if not path.is_file():
        raise SdgError(f"{path}: no such file. Correct the path of the benchmark.")
    for place, row in read_rows(path):
        if isinstance(row, BadRow):
            raise SdgError(
                f"{path}, {place}: {row.reason}. Correct or remove this row of the benchmark, then run again."
            )
        yield row


def read_benchmarks(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (labels, texts) of the benchmarks' questions, each text once, in the order of the sources.

    sources: see BenchmarkSource.parse. Raises SdgError for an empty list and as BenchmarkSource does.
    """
    if not sources:
        raise SdgError("benchmarks: the list is empty. Give at least one file or dataset of questions.")
    labels: list[str] = []
    texts: list[str] = []
    seen: set[str] = set()
    for source in map(BenchmarkSource.parse, sources):
        for text in source.questions():
            if text not in seen:
                seen.add(text)
                labels.append(source.label)
                texts.append(text)
    return labels, texts
