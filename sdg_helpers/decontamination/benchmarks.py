"""Questions of benchmarks, from files or from the hub, that training data must not contain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import hub, paths
from sdg_helpers.errors import SdgError

_KEYS = ("question", "problem", "Question", "Problem", "prompt", "input", "text")


@dataclass(frozen=True)
class BenchmarkSource:
    """Where a benchmark's questions are. name: the path of a .jsonl or .parquet file, or a dataset of the hub with its
    revision, configuration and split; key: the column with the question's text, "" to find it."""

    name: str
    revision: str = ""
    config: str = ""
    split: str = "test"
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> BenchmarkSource:
        """From what a notebook has: `path/to/questions.jsonl`, `path/to/questions.parquet#problem`,
        `TIGER-Lab/MMLU-Pro`, `owner/name:split`, `owner/name@revision:config:split#column`."""
        name, _, key = text.strip().partition("#")
        if name.endswith((".jsonl", ".parquet")):
            return cls(name, key=key)
        name, *more = name.split(":")
        repo, _, revision = name.partition("@")
        if repo.count("/") != 1 or len(more) > 2 or not all(repo.split("/")):
            raise SdgError(
                f"benchmark {text!r}: expected the path of a .jsonl or .parquet file, or a dataset of the "
                "hub such as TIGER-Lab/MMLU-Pro:test#question (owner/name@revision:config:split#column)."
            )
        config, split = (more[0], more[1]) if len(more) == 2 else ("", more[0] if more else "test")
        return cls(repo, revision, config, split, key)

    @property
    def path(self) -> Path | None:
        """The file, None for a dataset of the hub."""
        return paths.resolve_path(self.name) if self.name.endswith((".jsonl", ".parquet")) else None

    @property
    def label(self) -> str:
        """A short name for reports."""
        return self.path.stem if self.path else self.name

    def questions(self) -> Iterator[str]:
        """The texts of its questions, in order; rows without one are passed over. Raises SdgError when it cannot be
        read, or has no column with questions."""
        key, found = self.key, 0
        for row in self._rows():
            key = key or self._find_key(row)
            if key not in row:
                raise SdgError(
                    f"benchmark {self.name}: expected the key {key!r}, found {', '.join(map(str, row))}. "
                    f"Name the key: {self.name}#KEY."
                )
            text = row[key]
            if isinstance(text, str) and text.strip():
                found += 1
                yield text.strip()
        if not found:
            raise SdgError(
                f"benchmark {self.name}: expected at least one question, found none. Give another file, split or key."
            )

    def _find_key(self, row: dict[str, Any]) -> str:
        found = next((key for key in _KEYS if isinstance(row.get(key), str)), None)
        if found is None:
            raise SdgError(
                f"benchmark {self.name}: expected one of the keys {', '.join(_KEYS)}, found "
                f"{', '.join(map(str, row))}. Name the key: {self.name}#KEY."
            )
        return found

    def _rows(self) -> Iterator[dict[str, Any]]:
        if self.path is not None:
            return hub.read_file(self.path)
        return hub.stream_split(
            self.name,
            self.split,
            what=f"benchmark {self.name}, split {self.split!r}",
            config=self.config or None,
            revision=self.revision or None,
            advice="A file of its questions can be given instead. Nothing was written.",
        )


def read_benchmarks(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """(labels, texts) of all questions of the benchmarks, each text once, in the order of the sources."""
    if not sources:
        raise SdgError("benchmarks: expected at least one file or dataset of questions, found none.")
    labels, texts, seen = [], [], set()
    for source in map(BenchmarkSource.parse, sources):
        for text in source.questions():
            if text not in seen:
                seen.add(text)
                labels.append(source.label)
                texts.append(text)
    return labels, texts
