"""How alike a text and a set of questions are: by their words in a row, and by their meaning."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

_WORD = re.compile(r"\w+")
_LONGEST = 4000  # characters of a text that are embedded
_DIMENSIONS = 256


@dataclass(frozen=True)
class Match:
    """A question of the set that a text is like. number: its place in the set; equal: the same words throughout."""

    number: int
    similarity: float
    overlap: float
    equal: bool


class QuestionIndex:
    """A set of questions, of which the likely copies of a text are found. About 2 KB a question.

    similarity: cosine of embeddings, -1 to 1. overlap: share of the shorter text's runs of `ngram` words that stand in
    the other text, 0 to 1.
    """

    def __init__(self, questions: Sequence[str], ngram: int = 8):
        self._ngram, self._words = ngram, [_words(text) for text in questions]
        self._vectors = embed(questions)
        grams = [_grams(words, ngram) for words in self._words]
        self._sizes = np.array([len(one) for one in grams], dtype=np.int32)
        hashes = np.concatenate([*grams, np.empty(0, dtype=np.uint64)])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], np.repeat(np.arange(len(grams), dtype=np.int32), self._sizes)[order]

    def matches(self, texts: Sequence[str], min_similarity: float, min_overlap: float, most: int) -> list[list[Match]]:
        """For each text the questions with at least one of both, the `most` likely first; ties in the set's order."""
        cosines = np.round(embed(texts) @ self._vectors.T, 4)
        found = []
        for text, row in zip(texts, cosines, strict=True):
            words = _words(text)
            overlaps = self._overlaps(_grams(words, self._ngram))
            close = np.flatnonzero(row >= min_similarity)
            closest = close[np.argsort(-row[close], kind="stable")][:most].tolist()
            numbers = {*closest, *(number for number, share in overlaps.items() if share >= min_overlap)}
            ranked = sorted(
                (
                    Match(
                        number,
                        round(float(row[number]), 4),
                        round(overlaps.get(number, 0.0), 4),
                        bool(words) and words == self._words[number],
                    )
                    for number in numbers
                ),
                key=lambda one: (not one.equal, -max(one.similarity, one.overlap), one.number),
            )
            found.append(ranked[:most])
        return found

    def _overlaps(self, grams: np.ndarray) -> dict[int, float]:
        """Share of common runs with every question that has one in common, by its number."""
        starts = np.searchsorted(self._hashes, grams, side="left")
        ends = np.searchsorted(self._hashes, grams, side="right")
        common = Counter(
            owner
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
            if end > start
            for owner in self._owners[start:end].tolist()
        )
        return {owner: count / min(len(grams), int(self._sizes[owner])) for owner, count in common.items()}


def embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of texts, shape (texts, 256), float32; zeros for a text without words. A small model of word
    embeddings that ships inside its package: no network, no GPU, tens of thousands of texts a second."""
    vectors = np.zeros((len(texts), _DIMENSIONS), dtype=np.float32)
    said = [number for number, text in enumerate(texts) if _WORD.search(text)]
    if said:
        clean = [texts[number][:_LONGEST].encode("utf-8", "replace").decode() for number in said]
        vectors[said] = np.nan_to_num(_model().embed(clean, norm=True))
    return vectors


@lru_cache(maxsize=1)
def _model() -> Any:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    import wordllama

    root.setLevel(level)  # its import makes the root logger print at INFO: a line for every request from there on
    root.handlers[:] = handlers

    # its own folder as cache: it looks for its tokenizer there, and never in the network
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _grams(words: list[str], size: int) -> np.ndarray:
    """The set of runs of `size` words, as numbers; a shorter text is one run."""
    if not words:
        return np.empty(0, dtype=np.uint64)
    runs = {" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}
    return np.sort(np.array([_hash(run) for run in runs], dtype=np.uint64))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")
