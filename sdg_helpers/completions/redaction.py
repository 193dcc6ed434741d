"""Quote a server's words without the keys in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

_QUOTED = 500  # characters of a message that are kept
_PART = 8  # characters of a key that give it away: some servers quote the beginning and the end of it
_SHORTEST = 5  # characters; shorter ones are placeholders ("none", "x")
_WORD = re.compile(r"[^\s\"'`<>,;()\[\]{}]+")
_SECRET = re.compile(
    r"\b(?:sk|hf|nvapi|gsk|xai|ghp|glpat|AIza|AKIA)[-_]?[A-Za-z0-9_*.-]{12,}|(?<=://)[^/@\s]+@|"
    r"(?<=Bearer )\S{8,}|(?<=Basic )\S{8,}"
)


class Redactor:
    """Removes keys from texts: the given ones, wherever at least eight characters of them appear, and lookalikes."""

    def __init__(self, keys: Iterable[str]):
        self._keys = {spelling for key in keys if len(key) >= _SHORTEST for spelling in (key, quote(key, safe=""))}
        self._parts = {
            key[start : start + _PART] for key in self._keys for start in range(max(1, len(key) - _PART + 1))
        }

    def quote(self, text: str) -> str:
        """Return the beginning of a text in one line, with *** in place of keys."""
        text = " ".join(text[: 4 * _QUOTED].split())
        for key in self._keys:
            text = text.replace(key, "***")
        text = _WORD.sub(lambda word: "***" if any(part in word[0] for part in self._parts) else word[0], text)
        return _SECRET.sub("***", text)[:_QUOTED]
