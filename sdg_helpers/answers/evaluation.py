"""The value of an expression in LaTeX to 150 digits, where there is only one way to read it."""

from __future__ import annotations

import re
from hashlib import blake2b

import mpmath

MAX_DEPTH = 20
_DIGITS, _COMPARED = 150, 90
_MAX_EXPONENT = 200

_mp = mpmath.mp.clone()
_mp.dps = _DIGITS
_LARGE, _SMALL, _NOISE = _mp.mpf(10) ** 30, _mp.mpf(10) ** -30, _mp.mpf(10) ** -120

_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|[A-Za-z]+|[-+*/^_(){}\[\]!]|\s", re.ASCII)
_FUNCTIONS = {
    rf"\{name}": getattr(_mp, python)
    for name, python in {
        "sin": "sin",
        "cos": "cos",
        "tan": "tan",
        "cot": "cot",
        "sec": "sec",
        "csc": "csc",
        "arcsin": "asin",
        "arccos": "acos",
        "arctan": "atan",
        "sinh": "sinh",
        "cosh": "cosh",
        "tanh": "tanh",
        "ln": "log",
        "exp": "exp",
    }.items()
}
_GREEK = {
    rf"\{name}"
    for name in (
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "theta",
        "lambda",
        "mu",
        "nu",
        "rho",
        "sigma",
        "tau",
        "phi",
        "varphi",
        "omega",
        "Delta",
        "Omega",
    )
}
_PRODUCT = {r"\cdot", r"\times", "*"}
_NAMES_OF_FUNCTIONS = set("fghFGHPQ")


class Undecided(Exception):
    """Not surely within the grammar."""


def evaluate(text: str) -> list:
    """The expression's value, or its values at three points when it has variables.

    Equal values at all three mean equal expressions. Raises Undecided (or an ArithmeticError or ValueError).
    """
    tokens = _tokens(text)
    if not any(token == "^" or token[-1].isalpha() and token not in {*_PRODUCT, r"\frac"} for token in tokens):
        raise Undecided  # `3-5` may be a range, `3 \times 4` a size, `2+2` the question
    first = _Evaluation(tokens, 0)
    values = [first.result()]
    if first.has_symbols:
        values += [_Evaluation(tokens, point).result() for point in (1, 2)]
    return values


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise Undecided
        token, place = match[0], match.end()
        if len(token) == 2 and token.isalpha() and text[place : place + 1] in ("^", "_"):
            tokens += [token[0], "*", token[1]]  # in `xy^2` the power is y's alone
        elif not token.isspace():
            tokens.append(r"\cdot" if token == "*" else token)
    return tokens


def spelt(value) -> str:
    """The value's first 90 digits; what is noise beside the rest is 0."""
    value = _mp.mpc(value)
    size = abs(value)
    return " ".join(
        "0" if abs(part) <= size * _NOISE else _mp.nstr(part, _COMPARED) for part in (value.real, value.imag)
    )


def _checked(value):
    """The value, if it is one that 150 digits can tell from its neighbours."""
    size = abs(value)
    if size != 0 and not _SMALL < size < _LARGE:
        raise Undecided
    return value


class _Evaluation:
    """Recursive descent over tokens. `point` 0: all symbols positive; 1: signs mixed; 2: all negative."""

    def __init__(self, tokens: list[str], point: int):
        self.tokens, self.place, self.point, self.depth, self.has_symbols = tokens, 0, point, 0, False

    def result(self):
        value = self.sum()
        if self.place != len(self.tokens):
            raise Undecided
        return value

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def next(self) -> str:
        if self.place == len(self.tokens):
            raise Undecided
        self.place += 1
        return self.tokens[self.place - 1]

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise Undecided

    def group(self, opening: str, closing: str):
        self.expect(opening)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Undecided
        value = self.sum()
        self.expect(closing)
        self.depth -= 1
        return value

    def sum(self):
        negative = self.peek() in ("+", "-") and self.next() == "-"
        value = -self.product() if negative else self.product()
        while self.peek() in ("+", "-"):
            sign = self.next()
            term = self.product()
            value = _checked(value + term if sign == "+" else value - term)
        return value

    def product(self):
        start = self.place
        value, divided = self.power(), False
        while True:
            token, before = self.peek(), self.tokens[self.place - 1]
            if token in _PRODUCT and not divided:
                self.next()
                if not _commutes(token, self.tokens[start : self.place - 1], self.peek()):
                    raise Undecided
                value = _checked(value * self.power())
            elif token == "/" and not divided:
                self.next()
                value, divided = _checked(value / self.power()), True
            elif token and _begins_atom(token):
                if divided or not _may_follow(before, token):  # `1/2x` has two readings, `3 x 5`, `a b` even more
                    raise Undecided
                value = _checked(value * self.power())
            else:
                return value

    def power(self):
        value = self.atom()
        if self.peek() == "!":
            self.next()
            value = self.factorial(value)
        if self.peek() == "^":
            self.next()
            value = _raised(value, self.group("{", "}"))
            if self.peek() in ("^", "!"):
                raise Undecided
        return value

    @staticmethod
    def factorial(value):
        if value != int(value.real) or not 0 <= value.real <= 25:
            raise Undecided
        return _mp.factorial(int(value.real))

    def atom(self):
        token = self.next()
        if token[0].isdigit() or token[0] == ".":
            return _checked(_mp.mpf(token))
        if token.isalpha():
            return self.letters(token)
        if token == "(":
            self.place -= 1
            return self.bracketed()
        if token in _GREEK:
            return self.symbol(token)
        if token in _FUNCTIONS:
            return self.function(_FUNCTIONS[token])
        return self.command(token)

    def bracketed(self):
        inside = self.tokens[self.place + 1 : self.place + 3]
        if inside[0:1] and inside[0].isdigit() and inside[1:] == [")"]:  # `(12)(23)` may be cycles
            raise Undecided
        return self.group("(", ")")

    def command(self, token: str):
        if token == r"\pi":
            return +_mp.pi
        if token == r"\frac":
            above = self.group("{", "}")
            return _checked(above / self.group("{", "}"))
        if token == r"\sqrt":
            return self.root()
        if token == r"\log":
            self.expect("_")
            base = self.group("{", "}")
            return self.function(lambda value: _mp.log(value) / _mp.log(base))
        raise Undecided

    def root(self):
        degree = self.group("[", "]") if self.peek() == "[" else _mp.mpf(2)
        value = self.group("{", "}")
        if degree != int(degree.real) or not 2 <= degree.real <= 20:
            raise Undecided
        if int(degree.real) % 2 and _mp.im(value) == 0 and _mp.re(value) < 0:
            return -_mp.root(-value, int(degree.real))
        return _mp.root(value, int(degree.real))

    def function(self, apply):
        r"""`\sin x`, `\sin 2x`, `\sin(…)`, `\sin^{2} x`; what may be read in two ways is refused."""
        power = None
        if self.peek() == "^":
            self.next()
            power = self.group("{", "}")
            if power not in (2, 3, 4):  # \sin^{-1} is not 1/\sin
                raise Undecided
        value = _checked(apply(_within_reach(self.argument())))
        token = self.peek()
        if token in ("^", "/", "!", "_") or (_begins_atom(token) and token not in _FUNCTIONS and token != "("):
            raise Undecided
        return value if power is None else value ** int(power)

    def argument(self):
        token = self.peek()
        if token == "(":
            return self.group("(", ")")
        if token == "{":
            return self.group("{", "}")
        value = _mp.mpf(self.next()) if token[:1].isdigit() else _mp.mpf(1)
        following = self.peek()
        if following.isalpha() or following in _GREEK or following in (r"\pi", r"\frac", r"\sqrt"):
            return value * self.atom()
        if not token[:1].isdigit() or following == "(":
            raise Undecided
        return value

    def letters(self, run: str):
        """A run of letters is one symbol whose order counts (`ab` is not `ba`); three letters are a word."""
        if len(run) > 2:
            raise Undecided
        if self.peek() == "(" and (run[-1] in _NAMES_OF_FUNCTIONS or not self.sum_in_brackets()):
            raise Undecided  # f(x) is not f times x
        return self.symbol(run)

    def sum_in_brackets(self) -> bool:
        rest = "".join(self.tokens[self.place :])
        return bool(re.match(r"\([^()]*[^()+-][+-][^()]*\)", rest))

    def symbol(self, name: str):
        if self.peek() == "_":
            self.next()
            self.expect("{")
            name += f"_{self.next()}"
            self.expect("}")
            if not name.rpartition("_")[2].isalnum():
                raise Undecided
        if name == "e":
            return +_mp.e
        self.has_symbols = True
        digest = blake2b(name.encode(), digest_size=16).digest()
        size = _mp.mpf(int.from_bytes(digest, "big")) / 2**127 + _mp.mpf(1) / 3
        return -size if self.point == 2 or (self.point == 1 and digest[0] % 2) else size


def _begins_atom(token: str) -> bool:
    return (
        token[:1].isalnum()
        or token[:1] in (".", "(")
        or token in _GREEK
        or token in _FUNCTIONS
        or token in (r"\pi", r"\frac", r"\sqrt", r"\log")
    )


def _commutes(product: str, before: list[str], after: str) -> bool:
    r"""Whether the sides of a product may surely be swapped: `m \times n` may be a size or a product of vectors, and
    `a \cdot b` one of matrices; `3 \times 2^{n}` is neither, nor is the product that is read into `xy^2`."""
    if product == r"\times":
        return not any(map(_is_letter, before))
    return product == "*" or not (_is_letter(before[-1]) and _is_letter(after))


def _is_letter(token: str) -> bool:
    return token.isalpha() or token in _GREEK


def _may_follow(before: str, token: str) -> bool:
    """Whether `token` directly after `before` surely means a product."""
    if token[0].isdigit() or token[0] == ".":
        return False
    if token == r"\frac" and before[-1].isdigit():  # a mixed number
        return False
    return not (token.isalpha() and before.isalpha())


def _within_reach(value):
    if abs(value) > 60:
        raise Undecided
    return value


def _raised(base, exponent):
    if abs(exponent) > _MAX_EXPONENT or (base == 0 and _mp.re(exponent) <= 0):
        raise Undecided
    return _checked(base**exponent)
