r"""Read an answer beyond a plain number as a key: answers with equal keys are equal.

Lists, tuples, sets, intervals, equations and matrices are compared piece by piece; a piece is evaluated exactly, or to
150 digits at points that depend on the names of its variables. An answer that is not certain to be within this grammar
has no key. A key needs no simplification, takes a fraction of a millisecond and has bounded cost. Libraries that read
more (math-verify) also accept more: they round to six digits, take `9\%` for 9 and the last of several expressions,
which suits a reward and is too loose for a verdict that nobody checks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sdg_helpers.answers.brackets import split_outside, turn_reversed_brackets, unwrap
from sdg_helpers.answers.equations import equation_key
from sdg_helpers.answers.numbers import Undecided
from sdg_helpers.answers.spelling import LIST_SEPARATOR
from sdg_helpers.answers.values import Key, read_value, unify_letters

MAX_LENGTH, MAX_DEPTH = 400, 20

_LIST = re.compile(rf"[,;{LIST_SEPARATOR}]|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])")
_UNION = re.compile(r"\\cup(?![A-Za-z])")
_RELATION = re.compile(r"\\(?:le|ge|ne|in)(?![A-Za-z])|[=<>]")
_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")
_ROW, _CELL = re.compile(r"\\\\"), re.compile("&")
_MATRICES = {"p": "p", "b": "p", "v": "v"}
_SYMBOL = re.compile(r"(?:[A-Za-z]|\\(?!pi\b|infty\b)[A-Za-z]+)(?:_\{\w+\})?'*|[A-Za-z]'*\([A-Za-z](?:,[A-Za-z])*\)")
_FUNCTION_OF = re.compile(r"[A-Za-z]'*\([A-Za-z](?:,[A-Za-z])*\)")
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}


class Reading(NamedTuple):
    """key: of the whole answer. name: the variable or function that the answer names (`x=5`, `x>3`), or "".
    bare: the key without the name, equal to key without one."""

    key: Key
    name: str
    bare: Key


def read_expression(tidied: str) -> Reading | None:
    """Return the keys of a tidied answer, or None if there is any doubt how to read it."""
    if len(tidied) > MAX_LENGTH or sum(map(str.isupper, tidied)) > 1:  # matrices do not commute
        return None
    if " -" in tidied:  # `3 -5` may be two numbers
        return None
    try:
        return _read(unify_letters(turn_reversed_brackets(tidied)))
    except (Undecided, ArithmeticError, ValueError, TypeError):
        return None


def value_key(tidied: str) -> str | None:
    """Return the free key of a tidied answer, or None."""
    reading = read_expression(tidied)
    return reading.key.free if reading else None


def _read(text: str) -> Reading:
    parts = split_outside(text, _LIST)
    if len(parts) > 1:
        return _read_list(parts)
    sides = split_outside(text, _RELATION)
    if len(sides) == 1:
        key = _structure(text, 0)
        return Reading(key, "", key)
    return _read_relation(sides)


def _read_list(parts: list[str]) -> Reading:
    r"""Read `x=1, x=2`, `x=1,2`, `x<1 or x>2` as one name and several values, any other list as it is."""
    _check_commas(parts)
    readings = []
    for part in parts[::2]:
        try:
            readings.append(_read(part))
        except Undecided:
            key = _structure(part, 1)
            readings.append(Reading(key, "", key))
    names = {reading.name for reading in readings[1:]}
    name = readings[0].name
    whole = _collect([reading.key for reading in readings], "{", "}")
    if name and (names == {name} or names == {""}):
        bares = [reading.bare for reading in readings]
        if all(bare.free[0] in "([" or r"\infty" in bare.free for bare in bares):
            if set(parts[1::2]) != {"or"}:
                return Reading(whole, "", whole)
            bare = Key(*(r"\cup".join(sorted(key.free for key in bares)),) * 2)
        else:
            bare = _collect(bares, "{", "}")
        return Reading(_name(name, bare), name, bare)
    return Reading(whole, "", whole)


def _check_commas(parts: list[str]) -> None:
    """Raise Undecided if a comma may mark decimals: `0,5; 2`."""
    separators = set(parts[1::2])
    if "," in separators and ";" in separators:
        raise Undecided
    if any(part.strip() in ("-0", "+0") for part in parts[::2]):
        raise Undecided


def _collect(keys: list[Key], opening: str, closing: str) -> Key:
    free, ordered = sorted(key.free for key in keys), [key.ordered for key in keys]
    return Key(f"{opening}{','.join(free)}{closing}", f"{opening}{','.join(ordered)}{closing}")


def _name(name: str, bare: Key) -> Key:
    return Key(f"{name}∈{bare.free}", f"{name}∈{bare.ordered}")


def _read_relation(sides: list[str]) -> Reading:
    operands, signs = [side.strip() for side in sides[::2]], sides[1::2]
    if set(signs) == {"="}:
        return _read_equation(operands)
    if signs == [r"\in"]:
        bare = _structure(operands[1], 1)
        if not _SYMBOL.fullmatch(operands[0]):
            raise Undecided
        return Reading(_name(operands[0], bare), operands[0], bare)
    if signs == [r"\ne"]:
        both = sorted(_structure(side, 1).free for side in operands)
        key = Key(*(r"\ne".join(both),) * 2)
        return Reading(key, "", key)
    if {_FLIPPED.get(sign, "") for sign in signs} <= {">", r"\ge"}:
        return _read_inequality(operands, signs)
    if {_FLIPPED.get(sign, "") for sign in signs} <= {"<", r"\le"}:
        return _read_inequality(operands[::-1], [_FLIPPED[sign] for sign in signs[::-1]])
    raise Undecided


def _read_equation(operands: list[str]) -> Reading:
    if len(operands) != 2:
        raise Undecided
    for name, value in (operands, operands[::-1]):
        if _SYMBOL.fullmatch(name) and not re.search(rf"(?<![A-Za-z\\]){re.escape(name)}(?![A-Za-z])", value):
            try:
                bare = _structure(value, 1)
            except Undecided:
                continue
            is_definition = bool(_FUNCTION_OF.fullmatch(name))
            if is_definition or _is_constant(bare):
                return Reading(_name(name, bare), name, bare)
            break
    equation = equation_key(*operands)
    key = Key(equation, equation)
    return Reading(key, "", key)


def _is_constant(key: Key) -> bool:
    return "|" not in key.free


def _read_inequality(operands: list[str], signs: list[str]) -> Reading:
    """Read a rising chain of `<` and `\\le`; a variable between constants is an interval."""
    names = [index for index, side in enumerate(operands) if _SYMBOL.fullmatch(side)]
    keys = [_structure(side, 1) for side in operands]
    others = [key for index, key in enumerate(keys) if index not in names]
    if len(names) == 1 and len(operands) <= 3 and all(map(_is_constant, others)):
        place = names[0]
        if len(operands) == 2 or place == 1:
            low, high = (r"-\infty", "("), (r"\infty", ")")
            if place > 0:
                low = keys[place - 1].free, "(" if signs[place - 1] == "<" else "["
            if place < len(operands) - 1:
                high = keys[place + 1].free, ")" if signs[place] == "<" else "]"
            interval = f"{low[1]}{low[0]},{high[0]}{high[1]}"
            bare = Key(interval, interval)
            return Reading(_name(operands[place], bare), operands[place], bare)
    chain = "".join(part for pair in zip((key.free for key in keys), [*signs, ""], strict=True) for part in pair)
    return Reading(Key(chain, chain), "", Key(chain, chain))


def _structure(text: str, depth: int) -> Key:
    text = text.strip()
    if not text or depth > MAX_DEPTH:
        raise Undecided
    if text.lstrip("+-") == r"\infty":
        text = text.removeprefix("+")
        return Key(text, text)
    for separator, combine in ((_LIST, _structure_list), (_UNION, _structure_union), (_PLUS_MINUS, _structure_signs)):
        parts = split_outside(text, separator)
        if len(parts) > 1:
            return combine(parts, depth)
    if len(split_outside(text, _RELATION)) > 1:
        return _read(text).key
    wrapped = unwrap(text)
    key = _structure_brackets(*wrapped, depth) if wrapped else None
    return key or read_value(text)


def _structure_list(parts: list[str], depth: int) -> Key:
    _check_commas(parts)
    return _collect([_structure(part, depth + 1) for part in parts[::2]], "{", "}")


def _structure_union(parts: list[str], depth: int) -> Key:
    union = r"\cup".join(sorted(_structure(part, depth + 1).free for part in parts[::2]))
    return Key(union, union)


def _structure_signs(parts: list[str], depth: int) -> Key:
    r"""Read `a\pm b` as the list of both values."""
    if len(parts) != 3:
        raise Undecided
    before, after = parts[0], parts[2]
    return _collect([_structure(f"{before}{sign}{after}", depth + 1) for sign in "+-"], "{", "}")


def _structure_brackets(opening: str, content: str, closing: str, depth: int) -> Key | None:
    """Read a set, tuple, interval or matrix; None for brackets around one value."""
    if opening.startswith(r"\begin"):
        return _structure_matrix(opening[7:8], content, depth)
    if opening == r"\{":
        if not content.strip():
            return Key("∅", "∅")
        parts = split_outside(content, _LIST)
        if len(parts) > 1:
            return _structure_list(parts, depth)
        return _collect([_structure(content, depth + 1)], "{", "}")
    parts = split_outside(content, _LIST)
    if len(parts) == 1:
        return None
    _check_commas(parts)
    keys = [_structure(part, depth + 1) for part in parts[::2]]
    if opening == r"\langle":
        opening, closing = "(", ")"
    return Key(*(f"{opening}{','.join(items)}{closing}" for items in zip(*keys, strict=True)))


def _structure_matrix(kind: str, content: str, depth: int) -> Key:
    rows = [split_outside(row, _CELL)[::2] for row in split_outside(content, _ROW)[::2]]
    if kind not in _MATRICES or len({len(row) for row in rows}) != 1:
        raise Undecided
    cells = [[_structure(cell, depth + 1).free for cell in row] for row in rows]
    if len(rows[0]) == 1 and kind != "v":  # a column vector is written as a tuple, too
        return Key(*(f"({','.join(row[0] for row in cells)})",) * 2)
    return Key(*(f"{_MATRICES[kind]}[{';'.join(','.join(row) for row in cells)}]",) * 2)
