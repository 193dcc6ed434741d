"""Texts that are almost one another: MinHash finds who may be, their shingles decide."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import numpy as np
from rensa import RMinHash, RMinHashLSH

from sdg_helpers.errors import SdgError

_WORD = re.compile(r"\w+")
_LABEL = re.compile(r"[ \t]*\(?[a-j][.):][ \t]+")
_WORDS = 3  # words a shingle
_PERMUTATIONS, _BANDS, _SEED = 64, 16, 42  # of the pairs that share 70 % of their shingles, 98.8 % are found


class NearDuplicates:
    """An index of texts that grows; the same texts in the same order give the same finds. About 1.5 KB a text.

    threshold: least share of common shingles (Jaccard index of the sets) for two texts to be near-duplicates.
    """

    def __init__(self, threshold: float = 0.7):
        if not 0.6 <= threshold <= 1:
            raise SdgError(
                f"threshold for near-duplicates: expected 0.6 to 1, found {threshold}. Below 0.6 texts on "
                "one subject are taken for copies."
            )
        self.threshold = threshold
        self._index = RMinHashLSH(0.5, _PERMUTATIONS, _BANDS)
        self._shingles: list[np.ndarray] = []

    def find(self, text: str) -> tuple[int, float] | None:
        """(number of the most similar text that was added, share of common shingles) from the threshold on, else None.
        Of equally similar ones, the first that was added."""
        mine = _hashes(text)
        best = max(
            ((_jaccard(mine, self._shingles[number]), -number) for number in set(self._index.query(_sketch(mine)))),
            default=(0.0, 0),
        )
        return (-best[1], round(best[0], 4)) if best[0] >= self.threshold else None

    def add(self, text: str) -> int:
        """Put a text into the index; returns its number, counted from 0."""
        mine = _hashes(text)
        self._index.insert(len(self._shingles), _sketch(mine))
        self._shingles.append(mine)
        return len(self._shingles) - 1


def shingles(text: str) -> Iterator[str]:
    """Runs of three words of each line, the lines' letters (`A. …`) left out: the order of options does not count. A
    shorter line is one shingle."""
    for line in unicodedata.normalize("NFKC", text).casefold().splitlines():
        label = _LABEL.match(line)
        words = _WORD.findall(line, label.end() if label else 0)
        if 0 < len(words) < _WORDS:
            yield " ".join(words)
        for start in range(len(words) - _WORDS + 1):
            yield " ".join(words[start : start + _WORDS])


def _hashes(text: str) -> np.ndarray:
    """The set of a text's shingles as sorted numbers of 32 bits."""
    found = RMinHash.hash_token_sets([list(shingles(text))])[0]
    return np.unique(np.array(found, dtype=np.uint64) >> np.uint64(32)).astype(np.uint32)


def _sketch(hashes: np.ndarray) -> RMinHash:
    sketch = RMinHash(_PERMUTATIONS, _SEED)
    sketch.update([str(number) for number in hashes.tolist()])
    return sketch


def _jaccard(one: np.ndarray, two: np.ndarray) -> float:
    common = len(np.intersect1d(one, two, assume_unique=True))
    return common / (len(one) + len(two) - common) if common else 0.0
