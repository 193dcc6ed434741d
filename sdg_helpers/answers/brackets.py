"""Split an answer at separators outside all brackets."""

from __future__ import annotations

import re

from sdg_helpers.answers.numbers import Undecided

_OPENING = re.compile(r"\\\{|\\begin\{[pbvBV]?matrix\}|\\langle(?![A-Za-z])|[(\[{]")
_CLOSING = re.compile(r"\\\}|\\end\{[pbvBV]?matrix\}|\\rangle(?![A-Za-z])|[)\]}]")
_REVERSED_INTERVAL = re.compile(r"([\[\]])([^\[\]]*)([\[\]])")
_TURNED = {"][": ("(", ")"), "]]": ("(", "]"), "[[": ("[", ")"), "[]": ("[", "]")}


def split_outside(text: str, separator: re.Pattern[str]) -> list[str]:
    """Return [part, separator, part, …]. Raises Undecided if the brackets don't balance."""
    pieces, start, position, depth = list[str](), 0, 0, 0
    while position < len(text):
        opening = _OPENING.match(text, position)
        closing = None if opening else _CLOSING.match(text, position)
        found = None if opening or closing or depth else separator.match(text, position)
        depth += bool(opening) - bool(closing)
        if depth < 0:
            raise Undecided
        if found:
            pieces += [text[start:position], found[0]]
            start = found.end()
        step = opening or closing or found
        position = step.end() if step else position + (2 if text[position] == "\\" else 1)
    if depth:
        raise Undecided
    return [*pieces, text[start:]]


def unwrap(text: str) -> tuple[str, str, str] | None:
    """Return (opening bracket, content, closing bracket) if one pair of brackets encloses the whole text."""
    opening = _OPENING.match(text)
    if opening is None:
        return None
    depth, position = 1, opening.end()
    while position < len(text):
        bracket = _OPENING.match(text, position)
        closing = None if bracket else _CLOSING.match(text, position)
        depth += bool(bracket) - bool(closing)
        if depth == 0 and closing is not None:
            whole = closing.end() == len(text)
            return (opening[0], text[opening.end() : position], closing[0]) if whole else None
        step = bracket or closing
        position = step.end() if step else position + 1
    return None


def turn_reversed_brackets(text: str) -> str:
    r"""Write the intervals `]0,5[` and `[0,5[` as `(0,5)` and `[0,5)`."""
    if not (text.startswith("]") or text.endswith("[")):
        return text
    parts = [_REVERSED_INTERVAL.fullmatch(part.strip()) for part in text.split(r"\cup")]
    if any(part is None for part in parts):
        return text
    turned = []
    for part in parts:
        if part is not None:
            opening, closing = _TURNED[part[1] + part[3]]
            turned.append(f"{opening}{part[2]}{closing}")
    return r"\cup".join(turned)
