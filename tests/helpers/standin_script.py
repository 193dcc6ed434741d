"""The stand-in server's replies: a function of only the messages and the seed.

It answers arithmetic as a solver would (`<think>…</think>… \\boxed{…}`, right with probability `accuracy`), judges
comparisons ("Predicted answer: …", "Expected answer: …") as a judge would, and picks one of several solutions
("Solution 0:").
"""

from __future__ import annotations

import ast
import re
from fractions import Fraction
from hashlib import blake2b

import orjson

from tests.helpers import standin_code, standin_science


def request_key(messages: list[dict], seed: int | None) -> bytes:
    """Return 8 bytes that identify a request, as in the file of --log-keys (in hex)."""
    return blake2b(orjson.dumps([messages, seed]), digest_size=8).digest()


def draw(*parts: object) -> float:
    """Return a number in [0, 1) that depends only on the parts."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=7).digest(), "big") / 2**56


_EXPRESSION = re.compile(r"-?[(\d][\d\s.,+\-*/()]*[-+*/][\d\s.+\-*/()]*[)\d]")
_WORDS = {
    r"\cdot": "*",
    r"\times": "*",
    r"\div": "/",
    "×": "*",
    "÷": "/",
    "−": "-",
    r"\left": "",
    r"\right": "",
    r"\(": "",
    r"\)": "",
}


def evaluate(text: str) -> Fraction | None:
    """Return the value of the last arithmetic expression in a text, or None."""
    text = re.sub(r"\\d?frac\{([^{}]+)\}\{([^{}]+)\}", r"((\1)/(\2))", text)
    for word, sign in _WORDS.items():
        text = text.replace(word, sign)
    for found in reversed(_EXPRESSION.findall(text)):
        try:
            return _value(ast.parse(found.replace(",", ""), mode="eval").body)
        except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
            continue
    return None


def _value(node: ast.AST) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
    raise ValueError("not plain arithmetic")


def spell(value: Fraction, how: float) -> str:
    """Write a number as some solver might; `how` in [0, 1) chooses the form."""
    if value.denominator == 1:
        return str(value.numerator)
    decimal = f"{float(value):.6f}".rstrip("0")
    if how < 0.5 and Fraction(decimal) == value:
        return decimal
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def answer(problem: str, seed: int | None, accuracy: float) -> str:
    """Return this sample's answer: the truth with the given probability, else one of three usual slips."""
    truth = evaluate(problem)
    if truth is None:
        truth = Fraction(int(draw("truth", problem) * 50))
    if draw("right", problem, seed) >= accuracy:
        truth = (truth + 1, truth - 2, 10 * truth + 3)[int(draw("slip", problem, seed) * 3)]
    return spell(truth, draw("form", problem, seed))


_LINE = re.compile(r"(predicted|expected) answer\** ?:\**[ \t]*(.*)", re.IGNORECASE)


def judge(text: str) -> str | None:
    """Return the reply to a request to compare two answers, None for any other text."""
    lines = {which.lower(): value for which, value in _LINE.findall(text)}
    if len(lines) < 2:
        return None
    same = comparable(lines["predicted"]) == comparable(lines["expected"])
    return f"Reasoning: compared as numbers or, failing that, as text.\nJudgement: {'Yes' if same else 'No'}"


def comparable(text: str) -> Fraction | str:
    """Return a number if the text is one, else the text without case, spaces and dollar signs."""
    text = re.sub(r"[\s$]|\\left|\\right", "", text).rstrip(".").casefold()
    plain = re.sub(r"\\d?frac\{(-?\d+)\}\{(\d+)\}", r"\1/\2", text).replace(",", "")
    try:
        return Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return text


_SHOWN = re.compile(r"^Solution (\d+):\n(.*?)(?=\n\nSolution \d+:|\Z)", re.MULTILINE | re.DOTALL)


def select(text: str, seed: int | None, accuracy: float) -> str | None:
    """Return the reply to a request to pick one of several solutions, None for any other text."""
    shown = [int(number) for number, _ in _SHOWN.findall(text)]
    if len(shown) < 2:
        return None
    truth = evaluate(text.partition("Solution 0:")[0])
    right = [
        int(number)
        for number, said in _SHOWN.findall(text)
        if comparable(said.partition("boxed{")[2].rpartition("}")[0]) == truth
    ]
    picks = right if right and draw("pick", text, seed) < accuracy else shown
    return f"Judgment: {picks[int(draw('which', text, seed) * len(picks))]}"


_FILLER = (
    "Let me restate the question in my own words and look for what is asked. Trying a small case first: "
    "with $a = {} $ and $b = {}$ we get $\\frac{{a}}{{b}}$, which looks right – I will check it once more.\n"
)


class Script:
    """The text for every request."""

    def __init__(self, accuracy: float, size: int):
        self.accuracy, self.size = accuracy, size
        self._filler = "".join(_FILLER.format(n, n * n) for n in range(2, 2 + size // 150 + 40)) if size else ""

    def reply(self, messages: list[dict], seed: int | None) -> tuple[str, str]:
        """Return (thinking, answer text)."""
        problem = str(messages[-1]["content"])
        verdict = judge(problem)
        if verdict is not None:
            return "", verdict
        pick = select(problem, seed, self.accuracy)
        if pick is not None:
            return "I compare the attempts with each other.", pick
        code = standin_code.reply(problem, seed, self.accuracy, draw)
        if code is not None:
            return code
        science = standin_science.reply(problem, seed, self.accuracy, draw, evaluate)
        if science is not None:
            return science
        boxed = answer(problem, seed, self.accuracy)
        start = int(draw("filler", problem, seed) * 3000)
        thinking = self._filler[start : start + self.size] or "I will work it out step by step."
        return thinking, f"Working it out gives the result.\n\nThe answer is \\boxed{{{boxed}}}"
