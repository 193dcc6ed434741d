"""Find a tokenizer's special tokens, and the thinking tags, in escaped text.

A special token in a text is not text: every trainer turns `<|im_end|>` into the token that ends a turn, wherever it is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sdg_helpers.answers.thinking import CLOSE, OPEN
from sdg_helpers.solutions.rows import escape_json

_THINKING = (OPEN, CLOSE)
THINKING_TAGS = (OPEN.encode(), CLOSE.encode())
_CONTROL = re.compile(r"<[|｜].+[|｜]>")


def special_tokens(tokenizer: Any) -> frozenset[str]:
    """Return the texts that the tokenizer reads as control tokens, without the thinking tags.

    They are the tokens marked as special, and added tokens of the form `<|…|>`: many tokenizers do not mark those.
    """
    added = [token for token in tokenizer.added_tokens_decoder.values()]
    found = {str(token) for token in added if token.special or _CONTROL.fullmatch(str(token))}
    return frozenset(token for token in found | set(tokenizer.all_special_tokens) if token.strip()) - {*_THINKING}


class Marks:
    """All special tokens and thinking tags, as one search.

    The patterns are grouped by their first two bytes, so that a search looks for one byte and rejects most of its
    occurrences with a second look: 40 KB take some 50 microseconds, whatever the number of tokens.
    """

    def __init__(self, tokens: Iterable[str]):
        starts: dict[bytes, dict[bytes, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        for token in sorted({*tokens, *_THINKING}, key=lambda token: (-len(token), token)):
            escaped = escape_json(token)
            starts[escaped[:1]][escaped[1:2]].append(escaped[2:])
        self._patterns = [
            re.compile(re.escape(first) + _any(re.escape(second) + _any(map(re.escape, rest)) for second, rest in more))
            for first, more in ((first, seconds.items()) for first, seconds in starts.items())
        ]

    def find(self, text: bytes) -> list[bytes]:
        """Return the special tokens and thinking tags in an escaped text, in order for each first character."""
        return [found for pattern in self._patterns for found in pattern.findall(text)]


def _any(patterns: Iterable[bytes]) -> bytes:
    return b"(?:" + b"|".join(patterns) + b")"


def thinking_parts(marks: Iterable[bytes]) -> tuple[int, int]:
    """Return how many opening and closing thinking tags there are among the marks of a text."""
    marks = list(marks)
    return marks.count(THINKING_TAGS[0]), marks.count(THINKING_TAGS[1])
