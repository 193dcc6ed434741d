r"""Answers beyond plain numbers as keys: two answers with equal keys are equal.

What stands between brackets and separators (tuples, sets, intervals, equations, matrices) is compared piece by piece;
a piece is evaluated to 150 digits at points that depend on the names of its variables. What is not surely within this
small grammar has no key. A key needs no simplification, takes a fraction of a millisecond and cannot run away.
Libraries that read more (math-verify) also accept more: they round to six digits, take `9\%` for 9 and the last of
several expressions, which suits a reward and is too loose for a verdict that nobody looks at again.
"""

from __future__ import annotations

import re

from sdg_helpers.answers.evaluation import Undecided, evaluate, spelt
from sdg_helpers.answers.plain_numbers import plain_number

MAX_LENGTH, MAX_DEPTH = 400, 20
_SEPARATOR = re.compile(r"\\(?:le|ge|ne|cup|cap|in|pm|mp)(?![A-Za-z])|\\\\|[,;=<>&]")
_OPENING = re.compile(r"\\\{|\\begin\{[pbvB]?matrix\}|[(\[{]")
_CLOSING = re.compile(r"\\\}|\\end\{[pbvB]?matrix\}|[)\]}]")


def value_key(tidied: str) -> str | None:
    """A key that is equal for equal answers only, from an answer's tidied spelling; None when there is doubt."""
    if len(tidied) > MAX_LENGTH or sum(map(str.isupper, tidied)) > 1:  # matrices do not commute
        return None
    try:
        return _structure(tidied, 0)
    except (Undecided, ArithmeticError, ValueError, TypeError):
        return None


def _structure(text: str, depth: int) -> str:
    text = text.strip()
    if not text or depth > MAX_DEPTH:
        raise Undecided
    if text.lstrip("+-") == r"\infty":
        return text.removeprefix("+")
    pieces = _split(text)
    if len(pieces) > 1:
        return "".join(piece if place % 2 else _structure(piece, depth + 1) for place, piece in enumerate(pieces))
    opening = _OPENING.match(text)
    if opening and (inside := _inside(text, opening)) is not None:
        body, closing = inside
        parts = _split(body)
        if opening[0] == r"\{":
            if set(parts[1::2]) - {",", ";"}:
                raise Undecided
            return r"\{" + ",".join(sorted(_structure(part, depth + 1) for part in parts[::2])) + r"\}"
        if len(parts) > 1:
            return f"{opening[0]}{_structure(body, depth + 1)}{closing}"
    return _value(text)


def _split(text: str) -> list[str]:
    """[part, separator, part, …] at the separators outside all brackets."""
    pieces, start, place, depth = [], 0, 0, 0
    while place < len(text):
        opening = _OPENING.match(text, place)
        closing = None if opening else _CLOSING.match(text, place)
        separator = None if opening or closing or depth else _SEPARATOR.match(text, place)
        depth += bool(opening) - bool(closing)
        if depth < 0:
            raise Undecided
        if separator:
            pieces += [text[start:place], separator[0]]
            start = separator.end()
        step = opening or closing or separator
        place = step.end() if step else place + (2 if text[place] == "\\" else 1)
    if depth:
        raise Undecided
    return [*pieces, text[start:]]


def _inside(text: str, opening: re.Match[str]) -> tuple[str, str] | None:
    """(what the first bracket encloses, its closing bracket) when that is the whole text, else None."""
    depth, place = 1, opening.end()
    while place < len(text):
        bracket = _OPENING.match(text, place)
        closing = None if bracket else _CLOSING.match(text, place)
        depth += bool(bracket) - bool(closing)
        if depth == 0:
            return (text[opening.end() : place], closing[0]) if closing.end() == len(text) else None
        step = bracket or closing
        place = step.end() if step else place + 1
    return None


def _value(text: str) -> str:
    number = plain_number(text)
    if number is None:
        return "≈" + "|".join(map(spelt, evaluate(text)))
    if number.also is not None:
        raise Undecided
    return f"={number.value}"
