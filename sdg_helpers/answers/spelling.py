"""One spelling for answers that LaTeX shows alike: spaces, sizes, dollar signs, a last full stop."""

from __future__ import annotations

import re

MAX_LENGTH = 2000  # characters; a longer answer is compared as it stands

_SIGNS = str.maketrans(
    {
        "−": "-",
        "\u00a0": " ",
        "，": ",",
        "π": r"\pi ",
        "∞": r"\infty ",
        "×": r"\times ",
        "·": r"\cdot ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\ne ",
        "√": r"\sqrt ",
    }
)
_WORDS = re.compile(
    r"\\(dfrac|tfrac|cfrac|leq|geq|neq|lbrace|rbrace|displaystyle|textstyle|left|right|big|Big|bigg"
    r"|Bigg|quad|qquad)(?![A-Za-z])"
)
_SAME = {
    "dfrac": r"\frac",
    "tfrac": r"\frac",
    "cfrac": r"\frac",
    "leq": r"\le",
    "geq": r"\ge",
    "neq": r"\ne",
    "lbrace": r"\{",
    "rbrace": r"\}",
    "quad": " ",
    "qquad": " ",
}
_TEXT = re.compile(r"([A-Za-z]?)\\(?:text|textbf|textit|textrm|textnormal|mathrm|mbox)\s*\{([^{}\\]*)\}")
_DOLLAR = re.compile(r"(?<!\\)\$")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d)(?!\d))")
_SHORT_POWER = re.compile(r"([\^_])\s*(?:(\d)(?!\d)|([A-Za-z])(?![A-Za-z]))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(?:(\d)(?!\d)|([A-Za-z])(?![A-Za-z]))")
_LIST = re.compile(r"(?<=\d),\s+(?=\d{3}(?!\d))")  # `1, 234` is a list, `1,234` a number
_SPACE = re.compile(r"(.?)\s+(?=(.?))", re.DOTALL)
_OPTION = re.compile(r"\(([A-Z])\)")


def tidy(answer: str) -> str:
    """The answer in one spelling; what two answers have in common here is only how they are written.

    Doing it twice changes nothing. Long answers are only stripped.
    """
    text = answer.strip()
    if len(text) > MAX_LENGTH or (text.isascii() and text.isalnum()):
        return text
    for _ in range(4):  # `$\text{5.}$`: one layer may hide another
        before, text = text, _once(text)
        if text == before:
            break
    return text


def _once(text: str) -> str:
    text = text.translate(_SIGNS).strip()
    text = re.sub(r"\\[!]|\{,\}", lambda match: "," if match[0] == "{,}" else "", text)
    text = re.sub(r"(?<!\\)\\[,;: ]|(?<!\\)~", " ", text).replace(r"\%", "%")
    text = re.sub(r"\\(?:left|right)\s*\.", " ", text)
    text = _WORDS.sub(lambda match: _SAME.get(match[1], " "), text)
    text = _TEXT.sub(lambda match: f"{match[1]} {match[2]}" if match[1] else match[2], text)
    text = _undelimited(text.strip())
    text = _SHORT_FRACTION.sub(lambda m: rf"\frac{{{m[1] or m[2] or ''}}}{{{m[3] or m[4] or ''}}}", text)
    text = _SHORT_POWER.sub(lambda m: f"{m[1]}{{{m[2] or m[3]}}}", text)
    text = _SHORT_ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2]}}}", text)
    text = _LIST.sub(";", text)
    text = _SPACE.sub(_space, text).strip()
    if text.endswith(".") and not text.endswith(("..", r"\.")):
        text = text[:-1].rstrip()
    option = _OPTION.fullmatch(text)
    return option[1] if option else text


def _undelimited(text: str) -> str:
    for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]")):
        if text.startswith(opening) and text.find(closing) == len(text) - 2:
            text = text[2:-2].strip()
    return _DOLLAR.sub("", text) if len(_DOLLAR.findall(text)) % 2 == 0 else text


def _space(match: re.Match[str]) -> str:
    """A space stays between two digits (`3 1/2`), two letters (`\\pi r`) and after a backslash; elsewhere it says
    nothing."""
    before, after = match[1], match[2]
    keep = before.isdigit() and after.isdigit() or before.isalpha() and after.isalpha() or before == "\\"
    return before + " " if keep else before
