"""Compare answers in words: case, articles and the common names of the same result say nothing."""

from __future__ import annotations

import re

_WORDS = re.compile(r"[A-Za-z][A-Za-z ,'-]*")
_ARTICLE = re.compile(r"(?:the|an?) (?=[a-z]{3})")
_NAMES = {
    "∅": "no solution|no solutions|no solution exists|no solutions exist|there is no solution|there are no solutions"
    "|none|empty set|the empty set",
    "does not exist": "dne|does not exist|doesn't exist|limit does not exist",
    "infinity": "infinity|inf|positive infinity",
    "-infinity": "negative infinity|minus infinity",
    "all real numbers": "all real numbers|all reals|all real number",
    "yes": "yes",
    "no": "no",
    "true": "true",
    "false": "false",
}
_BY_NAME = {name: key for key, names in _NAMES.items() for name in names.split("|")}
_BY_SYMBOL = {
    r"\emptyset": "∅",
    r"\{\}": "∅",
    r"\infty": "infinity",
    r"+\infty": "infinity",
    r"-\infty": "-infinity",
    r"\mathbb{R}": "all real numbers",
    r"(-\infty,\infty)": "all real numbers",
    r"(-\infty,+\infty)": "all real numbers",
}


def word_key(tidied: str) -> str | None:
    """Return a key for an answer in words, or for a symbol that has a name in words; None for any other answer."""
    text = tidied.rpartition(r"\in")[2].strip() if tidied.count(r"\in") == 1 and r"\in\mathbb" in tidied else tidied
    if text in _BY_SYMBOL:
        return _BY_SYMBOL[text]
    if not _WORDS.fullmatch(text):
        return None
    name = _BY_NAME.get(text.lower())
    if name:
        return name
    if len(text) < 3 or not re.search("[a-z]{2}", text):
        return None
    lowered = re.sub(r"\b[A-Z][a-z]{2,}\b", lambda word: word[0].lower(), text[0].lower() + text[1:])
    return _ARTICLE.sub("", lowered, count=1) if _ARTICLE.match(lowered) else lowered
