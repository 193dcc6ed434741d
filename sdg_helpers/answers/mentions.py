"""Search a text for one of many phrases, at the cost of looking for plain words in a text without any."""

from __future__ import annotations

import re
from typing import NamedTuple

_LIKE_ASCII = frozenset("ıİſ\u212a")  # letters that re.IGNORECASE takes for i, s and k, and str.lower does not


class Mention(NamedTuple):
    """A regular expression of which every match contains one of `words`, which are in small letters.

    Most problems contain none of them, and `in` is ten times as fast as an expression with many alternatives.
    """

    pattern: re.Pattern[str]
    words: tuple[str, ...]

    def search(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in the text."""
        if text.isascii() or _LIKE_ASCII.isdisjoint(text):
            lowered = text.lower()
            for word in self.words:
                if word in lowered:
                    break
            else:
                return False
        return self.pattern.search(text) is not None


def mention(pattern: str, words: str, separator: str = " ") -> Mention:
    """Return a Mention that ignores case. words: joined by `separator`."""
    return Mention(re.compile(pattern, re.IGNORECASE), tuple(words.split(separator)))
