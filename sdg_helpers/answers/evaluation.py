"""Evaluate an expression in LaTeX, if there is only one way to read it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from hashlib import blake2b

from sdg_helpers.answers.numbers import (
    Number,
    Undecided,
    check,
    choose,
    combine,
    factorial,
    inexact,
    mp,
    power,
    root,
)
from sdg_helpers.answers.tokens import FUNCTIONS, GREEK, PRODUCTS, begins_factor, commutes, may_follow, tokenize

NUM_POINTS, POSITIVE_POINTS = 4, (0, 3)
MAX_DEPTH = 20

_NAMES_IN_MPMATH = {r"\arcsin": "asin", r"\arccos": "acos", r"\arctan": "atan", r"\ln": "log"}
_FUNCTIONS: dict[str, Callable[[Number], Number]] = {
    name: getattr(mp, _NAMES_IN_MPMATH.get(name, name[1:])) for name in FUNCTIONS
}
_FUNCTION_NAMES = set("fghFGHPQ")
_MAX_ARGUMENT = 60  # of a function: exp(60) is still within bounds


def evaluate(text: str) -> list[Number]:
    """Return the value of a constant, or the values at NUM_POINTS points of an expression with variables.

    Equal values at all points mean equal expressions. Raises Undecided, or an ArithmeticError or ValueError.
    """
    tokens = tokenize(text)
    first = _Evaluation(tokens, 0)
    values = [first.result()]
    if first.has_symbols:
        values += [_Evaluation(tokens, point).result() for point in range(1, NUM_POINTS)]
    return values


class _Evaluation:
    """Recursive descent over tokens.

    Symbols are all positive at point 0, of mixed signs at point 1, all negative at point 2 and small at point 3.
    """

    def __init__(self, tokens: list[str], point: int):
        self.tokens, self.position, self.point, self.depth = tokens, 0, point, 0
        self.has_symbols, self.in_bars = False, False

    def result(self) -> Number:
        value = self.sum()
        if self.position != len(self.tokens):
            raise Undecided
        return value

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def next(self) -> str:
        if self.position == len(self.tokens):
            raise Undecided
        self.position += 1
        return self.tokens[self.position - 1]

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise Undecided

    def group(self, opening: str, closing: str) -> Number:
        self.expect(opening)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Undecided
        value = self.sum()
        self.expect(closing)
        self.depth -= 1
        return value

    def sum(self) -> Number:
        negative = self.peek() in ("+", "-") and self.next() == "-"
        value = -self.product() if negative else self.product()
        while self.peek() in ("+", "-"):
            sign = self.next()
            value = combine(operator.add if sign == "+" else operator.sub, value, self.product())
        return value

    def product(self) -> Number:
        start = self.position
        value, divided = self.factor(), False
        while True:
            token, before = self.peek(), self.tokens[self.position - 1]
            if token in PRODUCTS and not divided:
                self.next()
                if not commutes(token, self.tokens[start : self.position - 1], self.peek()):
                    raise Undecided
                value = combine(operator.mul, value, self.factor())
            elif token in ("/", r"\div") and not divided:
                self.next()
                value, divided = combine(operator.truediv, value, self.factor()), True
            elif token and begins_factor(token) and not (token == "|" and self.in_bars):
                if divided or not may_follow(before, token):  # `1/2x` and `3 x 5` have more than one reading
                    raise Undecided
                value = combine(operator.mul, value, self.factor())
            else:
                return value

    def factor(self) -> Number:
        value = self.atom()
        if self.peek() == "!":
            self.next()
            value = factorial(value)
        if self.peek() == "^":
            self.next()
            value = power(value, self.group("{", "}"))
            if self.peek() in ("^", "!"):
                raise Undecided
        return value

    def atom(self) -> Number:
        token = self.next()
        if token[0].isdigit() or token[0] == ".":
            return check(Fraction(token))
        if token.isalpha():
            return self.letters(token)
        if token == "(":
            self.position -= 1
            return self.in_brackets()
        if token == "|" and not self.in_bars:
            return self.absolute()
        if token in GREEK:
            return self.symbol(token)
        if token in _FUNCTIONS:
            return self.function(_FUNCTIONS[token])
        return self.command(token)

    def in_brackets(self) -> Number:
        inside = self.tokens[self.position + 1 : self.position + 3]
        if inside[0:1] and inside[0].isdigit() and inside[1:] == [")"]:  # `(12)(23)` may be cycles
            raise Undecided
        outside, self.in_bars = self.in_bars, False
        value = self.group("(", ")")
        self.in_bars = outside
        return value

    def absolute(self) -> Number:
        self.in_bars = True
        value = self.sum()
        self.expect("|")
        self.in_bars = False
        return abs(value)

    def command(self, token: str) -> Number:
        if token == r"\pi":
            return +mp.pi
        if token == r"\frac":
            above = self.group("{", "}")
            return combine(operator.truediv, above, self.group("{", "}"))
        if token == r"\binom":
            total = self.group("{", "}")
            return choose(total, self.group("{", "}"))
        if token == r"\sqrt":
            degree = self.group("[", "]") if self.peek() == "[" else Fraction(2)
            return root(self.group("{", "}"), degree)
        if token == r"\log":
            self.expect("_")
            base = inexact(self.group("{", "}"))
            return self.function(lambda value: mp.log(value) / mp.log(base))
        raise Undecided

    def function(self, apply: Callable[[Number], Number]) -> Number:
        r"""Evaluate `\sin x`, `\sin 2x`, `\sin(…)` and `\sin^{2} x`. Raises Undecided for more than one reading."""
        exponent = None
        if self.peek() == "^":
            self.next()
            exponent = self.group("{", "}")
            if exponent not in (2, 3, 4):  # \sin^{-1} is not 1/\sin
                raise Undecided
        argument = inexact(self.argument())
        if abs(argument) > _MAX_ARGUMENT:
            raise Undecided
        value = check(apply(argument))
        token = self.peek()
        if token in ("^", "/", "!", "_") or (begins_factor(token) and token not in _FUNCTIONS and token not in "(|"):
            raise Undecided
        return value if exponent is None else value ** int(exponent)

    def argument(self) -> Number:
        token = self.peek()
        if token == "(":
            return self.group("(", ")")
        if token == "{":
            return self.group("{", "}")
        if token == "|" and not self.in_bars:
            return self.atom()
        value: Number = Fraction(self.next()) if token[:1].isdigit() else Fraction(1)
        following = self.peek()
        if following.isalpha() or following in GREEK or following in (r"\pi", r"\frac", r"\sqrt"):
            return combine(operator.mul, value, self.atom())
        if not token[:1].isdigit() or following == "(":
            raise Undecided
        return value

    def letters(self, run: str) -> Number:
        """Read a run of letters as one symbol whose order counts (`ab` is not `ba`); three letters are a word."""
        if len(run) > 2:
            raise Undecided
        if self.peek() == "(" and (run[-1] in _FUNCTION_NAMES or not self.sum_in_brackets()):
            raise Undecided  # f(x) is not f times x
        return self.symbol(run)

    def sum_in_brackets(self) -> bool:
        end = self.position + 1
        while end < len(self.tokens) and self.tokens[end] not in "()":
            end += 1
        return self.tokens[end : end + 1] == [")"] and any(
            token in "+-" for token in self.tokens[self.position + 2 : end - 1]
        )

    def symbol(self, name: str) -> Number:
        if self.peek() == "_":
            self.next()
            self.expect("{")
            name += f"_{self.next()}"
            self.expect("}")
            if not name.rpartition("_")[2].isalnum():
                raise Undecided
        if name == "e":
            return +mp.e
        if name == "i":
            return mp.mpc(0, 1)
        self.has_symbols = True
        digest = blake2b(name.encode(), digest_size=16).digest()
        size = mp.mpf(int.from_bytes(digest, "big")) / 2**127 + mp.mpf(1) / 3
        if self.point == 3:
            return size / 7
        return -size if self.point == 2 or (self.point == 1 and digest[0] % 2) else size
