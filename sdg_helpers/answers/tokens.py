"""Split an expression in LaTeX into tokens, and say which may stand side by side."""

from __future__ import annotations

import re

from sdg_helpers.answers.numbers import Undecided

_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|[A-Za-z]+|[-+*/^_(){}\[\]!|]|\s", re.ASCII)
_GREEK_NAMES = "alpha beta gamma delta epsilon theta lambda mu nu rho sigma tau phi omega Delta Omega"
_FUNCTION_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln exp"
GREEK = {rf"\{name}" for name in _GREEK_NAMES.split()}
FUNCTIONS = {rf"\{name}" for name in _FUNCTION_NAMES.split()}
PRODUCTS = {r"\cdot", r"\times", "*"}


def tokenize(text: str) -> list[str]:
    """Split a tidied expression into tokens. Raises Undecided for any character outside the grammar."""
    tokens, position = list[str](), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Undecided
        token, position = match[0], match.end()
        if len(token) == 2 and token.isalpha() and text[position : position + 1] in ("^", "_"):
            tokens += [token[0], "*", token[1]]  # in `xy^2` the power belongs to y
        elif not token.isspace():
            tokens.append(r"\cdot" if token == "*" else token)
    return tokens


def begins_factor(token: str) -> bool:
    return (
        token[:1].isalnum()
        or token[:1] in (".", "(", "|")
        or token in GREEK
        or token in FUNCTIONS
        or token in (r"\pi", r"\frac", r"\sqrt", r"\log", r"\binom")
    )


def commutes(product: str, before: list[str], after: str) -> bool:
    r"""Return whether the factors of a product certainly commute.

    `m \times n` may be a size or a product of vectors, `a \cdot b` one of matrices; `3 \times 2^{n}` is neither, nor is
    the product that is read into `xy^2`.
    """
    if product == r"\times":
        return not any(map(is_letter, before))
    return product == "*" or not (is_letter(before[-1]) and is_letter(after))


def is_letter(token: str) -> bool:
    return token.isalpha() or token in GREEK


def may_follow(before: str, token: str) -> bool:
    """Return whether `token` directly after `before` certainly means a product."""
    if token[0].isdigit() or token[0] == ".":
        return False
    if token == r"\frac" and before[-1].isdigit():  # a mixed number
        return False
    return not (token.isalpha() and before.isalpha())
