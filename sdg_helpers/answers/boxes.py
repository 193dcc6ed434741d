r"""Find the boxes in a text: `\boxed{42}`, `\fbox{42}`, `\boxed 5`. Linear time on any text."""

from __future__ import annotations

import re
from typing import NamedTuple

_BOX = r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s{0,8}"
_BARE = (
    r"(?P<bare>-?\d+(?:[.,]\d+)*|[A-HJ-Z](?![A-Za-z])|\\[dt]?frac\{[^{}]{0,99}\}\{[^{}]{0,99}\}|\\sqrt\{[^{}]{0,99}\}"
    r"|\\text\{[^{}]{0,99}\}|\\pi(?![A-Za-z]))"
)
_ESCAPED = r"\\\{(?P<escaped>[^{}\\]{0,999})\\\}"
_TOKEN = re.compile(rf"(?P<box>{_BOX}\{{)|{_BOX}(?:{_BARE}|{_ESCAPED})|\\\\(?!boxed|fbox|framebox)|\\[{{}}]|[{{}}]")
_MARK = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])")

_DRESS = re.compile(
    r"\\(?:underline|uline|textbf|mathbf|boldsymbol|bm|bf|displaystyle|large|Large|LARGE|huge|color\{[^{}]*\}"
    r"|textcolor\{[^{}]*\})(?![A-Za-z])\s*"
)
_NOTHING = re.compile(
    r"(?:\\(?:l|c|v|d)?dots[a-z]?|\\(?:text|mathrm|underline|hspace|phantom|quad|qquad|square|Box)\b\*?|[\s.…_?$~{}\\,;:-]"
    r"|\d+(?:\.\d+)?\s?(?:cm|em|pt|mm|in|ex)\b)*"
)
_TEMPLATE = re.compile(
    r"[<\[({]?\s*(?:(?:insert|put|write|enter|place|give)\s+)?(?:(?:your|the|my|a)\s+)?"
    r"(?:(?:final|correct|numerical|numeric|integer|short|exact)\s+)*(?:answer|ans)(?:\s+(?:goes\s+)?here)?\s*[>\])}]?|<[^<>]*>",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|textit|mbox|boxed|fbox)\s*\{([^{}]*)\}")


class Box(NamedTuple):
    """Where a box is: start of its command; begin and end of its content."""

    start: int
    begin: int
    end: int


def find_boxes(text: str) -> tuple[list[Box], bool]:
    r"""Return (the innermost boxes with balanced braces in order, whether a later box is never closed).

    `\{` and `\}` are no braces.
    """
    first = _MARK.search(text)
    if first is None:
        return [], False
    opened: list[tuple[int, int] | None] = []  # start and begin of an open box, None for any other brace
    boxes: list[Box] = []
    for match in _TOKEN.finditer(text, first.start()):
        token = match[0]
        if token == "}":
            inside = opened.pop() if opened else None
            if inside is not None and not (boxes and boxes[-1].start > inside[0]):
                boxes.append(Box(*inside, match.start()))
        elif token == "{":
            opened.append(None)
        elif match["box"]:
            opened.append((match.start(), match.end()))
        elif match["bare"] is not None or match["escaped"] is not None:
            boxes.append(Box(match.start(), *match.span("bare" if match["bare"] is not None else "escaped")))
    last_open = max((inside[0] for inside in opened if inside is not None), default=-1)
    return boxes, last_open > (boxes[-1].start if boxes else -1)


def undress(content: str) -> str:
    r"""Return a box's content without what only dresses it: `$…$`, `\underline{…}`, `\textbf{…}`."""
    text = content.strip()
    for _ in range(4):
        before = text
        if len(text) > 1 and text[0] == text[-1] == "$" and text.count("$") == 2 and text[-2] != "\\":
            text = text[1:-1].strip()
        dress = _DRESS.match(text)
        if dress:
            inside = text[dress.end() :].strip()
            if inside.startswith("{") and inside.find("}") == len(inside) - 1:
                text = inside[1:-1].strip()
            elif not inside.startswith("{") and dress[0].strip().startswith((r"\displaystyle", r"\large", r"\bf")):
                text = inside
        if text == before:
            break
    return text


def is_placeholder(content: str) -> bool:
    r"""Return whether a box is empty or a template: `\boxed{}`, `\boxed{...}`, `\boxed{\text{your answer}}`."""
    text = content.strip()
    if len(text) > 100:
        return False
    if _NOTHING.fullmatch(text):
        return r"\{" not in text  # `\{\}` is the empty set
    return bool(_TEMPLATE.fullmatch(_WRAPPED.sub(r"\1", text).strip(" $.")))
