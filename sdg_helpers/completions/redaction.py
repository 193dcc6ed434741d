"""Take the keys out of a server's words: out of messages that are quoted, and out of replies that are stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote

from sdg_helpers.completions.types import Completion

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
        self._secrets = [_Secret(key) for key in sorted(self._keys) if _is_secret(key)]

    def quote(self, text: str) -> str:
        """Return the beginning of a text in one line, with *** in place of keys."""
        text = " ".join(text[: 4 * _QUOTED].split())
        for key in self._keys:
            text = text.replace(key, "***")
        text = _WORD.sub(lambda word: "***" if any(part in word[0] for part in self._parts) else word[0], text)
        return _SECRET.sub("***", text)[:_QUOTED]

    def hide(self, text: str) -> str:
        """Return a text with *** in place of keys and of pieces of at least half of one; unchanged without any."""
        for secret in self._secrets:
            text = secret.hide(text)
        return text

    def hide_in(self, reply: Completion) -> Completion:
        """Return a reply whose texts hold no keys; the same one if they hold none."""
        if not self._secrets:
            return reply
        text, finish_reason = self.hide(reply.text), self.hide(reply.finish_reason)
        if text == reply.text and finish_reason == reply.finish_reason:
            return reply
        return replace(reply, text=text, finish_reason=finish_reason)


def secrets_in(headers: Mapping[str, str]) -> list[str]:
    """Return the keys in the headers of a request."""
    return [
        value.split()[-1]
        for name, value in headers.items()
        if value.strip() and any(part in name.lower() for part in ("authorization", "key", "token", "secret"))
    ]


class _Secret:
    """One key to be found in long texts, whole or cut."""

    def __init__(self, key: str):
        size = max(_PART, len(key) // 2)
        self._size = size
        self._pieces = [key[start : start + size] for start in range(len(key) - size + 1)]
        step = (size + 1) // 2  # every piece contains one of these whole
        self._anchors = [key[start : start + step] for start in range(0, len(key) - step + 1, step)]

    def hide(self, text: str) -> str:
        if not any(anchor in text for anchor in self._anchors):
            return text
        kept, end = [], 0
        for start in sorted(self._find(text)):
            if start >= end:
                kept.append(text[end:start])
            end = start + self._size
        return "***".join([*kept, text[end:]])

    def _find(self, text: str) -> Iterator[int]:
        for piece in self._pieces:
            start = text.find(piece)
            while start >= 0:
                yield start
                start = text.find(piece, start + 1)


def _is_secret(key: str) -> bool:
    """Return whether a key is no placeholder, whose words a model may well write."""
    mixed = any(letter.isdigit() for letter in key) and any(letter.isalpha() for letter in key)
    return len(key) >= (_PART if mixed else 2 * _PART)
