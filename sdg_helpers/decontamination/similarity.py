"""Similarity of a text to a set of questions: shared runs of words, and cosine of embeddings."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WORD = re.compile(r"\w+")
_MAX_CHARS = 4000  # the rest of a longer text is not embedded
_DIMENSIONS = 256


@dataclass(frozen=True)
class Match:
    """A question that resembles a text. number: index in the set; equal: both have the same words in the same order."""

    number: int
    similarity: float
    overlap: float
    equal: bool


class QuestionIndex:
    """A searchable set of questions, about 2 KB each.

    similarity: cosine of embeddings, -1 to 1. overlap: shared runs of `ngram` words, as a fraction of the runs of the
    shorter text, 0 to 1.
    """

    def __init__(self, questions: Sequence[str], ngram: int = 8):
        self._ngram, self._words = ngram, [_words(text) for text in questions]
        self._vectors = embed(questions)
        grams = [_gram_hashes(words, ngram) for words in self._words]
        self._sizes = np.array([len(one) for one in grams], dtype=np.int32)
        hashes = np.concatenate([*grams, np.empty(0, dtype=np.uint64)])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], np.repeat(np.arange(len(grams), dtype=np.int32), self._sizes)[order]

    def matches(self, texts: Sequence[str], min_similarity: float, min_overlap: float, most: int) -> list[list[Match]]:
        """For each text, the questions that reach either minimum: at most `most`, best first, ties in index order."""
        cosines = np.round(embed(texts) @ self._vectors.T, 4)
        return [
            self._ranked(_words(text), row, min_similarity, min_overlap, most)
            for text, row in zip(texts, cosines, strict=True)
        ]

    def _ranked(
        self, words: list[str], cosines: np.ndarray, min_similarity: float, min_overlap: float, most: int
    ) -> list[Match]:
        overlaps = self._overlaps(_gram_hashes(words, self._ngram))
        close = np.flatnonzero(cosines >= min_similarity)
        closest = close[np.argsort(-cosines[close], kind="stable")][:most].tolist()
        numbers = {*closest, *(number for number, share in overlaps.items() if share >= min_overlap)}
        found = [
            Match(
                number,
                round(float(cosines[number]), 4),
                round(overlaps.get(number, 0.0), 4),
                bool(words) and words == self._words[number],
            )
            for number in numbers
        ]
        return sorted(found, key=lambda one: (not one.equal, -max(one.similarity, one.overlap), one.number))[:most]

    def _overlaps(self, grams: np.ndarray) -> dict[int, float]:
        """Overlap with every question that shares at least one run of words, by question number."""
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
    """Return unit vectors, shape (texts, 256), float32; zeros for a text without words.

    The vector of a text is the mean of its tokens' vectors in WordLlama's `l2_supercat` model, whose files are part of
    the wordllama package: no network, no GPU, thousands of texts per second.
    """
    vectors = np.zeros((len(texts), _DIMENSIONS), dtype=np.float32)
    tokenizer, table = _load_model()
    for vector, text in zip(vectors, texts, strict=True):
        if _WORD.search(text):
            encodable = text[:_MAX_CHARS].encode("utf-8", "replace").decode()  # no lone surrogates
            vector[:] = table[tokenizer.encode(encodable, add_special_tokens=False).ids].mean(axis=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=vectors, where=lengths > 0)


@lru_cache(maxsize=1)
def _load_model() -> tuple[Tokenizer, np.ndarray]:
    """The tokenizer and the token vectors, shape (32000, 256), float32, from the files of the wordllama package.

    The package itself is not imported: its newer releases have compiled modules that lag behind Python's releases.
    """
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise SdgError(
            "the embedding model is missing: the package wordllama is not installed. Install sdg-helpers again."
        )
    folder = Path(spec.submodule_search_locations[0])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")
    return tokenizer, weights["embedding.weight"].astype(np.float32)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _gram_hashes(words: list[str], size: int) -> np.ndarray:
    """Sorted hashes of the distinct runs of `size` words; a shorter text is a single run."""
    if not words:
        return np.empty(0, dtype=np.uint64)
    runs = {" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}
    return np.sort(np.array([_hash(run) for run in runs], dtype=np.uint64))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")
