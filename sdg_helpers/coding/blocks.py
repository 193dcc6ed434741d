"""Fenced code blocks in an answer, and which of them is the program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A language's name in our data -> the names that models write after the fence.
FENCE_NAMES = {
    "python": re.compile(r"(?:py(?:thon|py)?|cpython)-?[\d.]*(?:-64)?"),
    "cpp": re.compile(r"(?:c\+\+|cpp|gnu\+\+|g\+\+)-?(?:\d[\da-z]?)?|cc|cxx|cplusplus"),
}
_OPENING = re.compile(r"^([ \t]*(?:[-*+>][ \t]+|\d+[.)][ \t]+)?)\*{0,3}(`{3,}(?!`)|~{3,}(?!~))([^`\n]*)$")
_OPENING_AFTER_TEXT = re.compile(r"^[^`~]{1,200}(`{3,}|~{3,})[ \t]*([^`~\s]{1,20})[ \t]*$")
# A session or an example's input that is labelled as a program
_TRANSCRIPT = re.compile(r"\s*(?:>>> |\$ )|[\s\d.,+-]*\Z")
_MAX_ENDS = 20  # closing fences that are tried for one program


@dataclass(frozen=True)
class Block:
    """A fenced block. name: the first word after the opening fence, in lower case; closed: whether its fence is.

    line: number of the line after the opening fence; indent: width of the opening fence's indentation; fence: the
    opening fence.
    """

    name: str
    code: str
    closed: bool
    line: int
    indent: int
    fence: str


def fenced_blocks(text: str) -> list[Block]:
    """Return all fenced blocks in order. A fence inside a line, as in a program's string, does not count.

    Text before a fence on its line is accepted if the fence names one of our languages and nothing follows.
    """
    blocks: list[Block] = []
    lines: list[str] | None = None  # of the open block
    start = indent = 0
    fence = name = ""
    for number, line in enumerate(_lines(text), 1):
        if lines is None:
            if opening := _opening(line):
                (indent, fence, name), lines, start = opening, [], number
        elif _closes(line, fence):
            blocks.append(Block(name, _join(lines), True, start, indent, fence))
            lines = None
        else:
            lines.append(_dedent(line, indent))
    return blocks if lines is None else [*blocks, Block(name, _join(lines), False, start, indent, fence)]


def last_program(answer: str, language: str) -> tuple[str, str]:
    """Return (program, "") for the last block of the language, whatever other blocks there are, or ("", reason).

    Sessions (>>> …) and blocks of numbers are no programs, whatever their label says. Reasons: no_code_block,
    other_language, unclosed_block.
    """
    blocks = fenced_blocks(answer)
    if not blocks:
        return "", "no_code_block"
    block = _program_block(blocks, language)
    if block is None:
        return "", "other_language"
    return (block.code, "") if block.closed else ("", "unclosed_block")


def longer_programs(answer: str, language: str) -> Iterator[str]:
    """Yield what the last program is if it ends at the second, third, … line that could close its block.

    A line of a string or a comment may look like a closing fence; then the first of these that parses is the program.
    """
    block, lines, ends = _program_block(fenced_blocks(answer), language), list[str](), 0
    if block is None:
        return
    for line in _lines(answer)[block.line :]:
        if _closes(line, block.fence):
            ends += 1
            if ends > 1:
                yield _join(lines)
            if ends > _MAX_ENDS:
                return
        lines.append(_dedent(line, block.indent))


def _program_block(blocks: list[Block], language: str) -> Block | None:
    """Return the last block of the language, one that is no transcript if there is one."""
    found = [block for block in blocks if FENCE_NAMES[language].fullmatch(block.name)]
    programs = [block for block in found if not _TRANSCRIPT.match(block.code)]
    return next(reversed(programs or found), None)


def _lines(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.split("\n")]


def _opening(line: str) -> tuple[int, str, str] | None:
    """Return (indentation, fence, name) of a line that opens a block, else None."""
    if match := _OPENING.match(line):
        words = match[3].split()
        return len(match[1]), match[2], words[0].strip("{}.").lower() if words else ""
    if (match := _OPENING_AFTER_TEXT.match(line)) and any(
        names.fullmatch(match[2].lower()) for names in FENCE_NAMES.values()
    ):
        return 0, match[1], match[2].lower()
    return None


def _closes(line: str, fence: str) -> bool:
    text = line.strip(" \t>").rstrip("* \t")  # a block in bold type ends with ```**
    return len(text) >= len(fence) and not text.strip(fence[0])


def _join(lines: list[str]) -> str:
    return "\n".join(lines) + "\n" if lines else ""


def _dedent(line: str, width: int) -> str:
    """Remove the indentation of the opening fence from a line, as far as the line has it."""
    return line[min(width, len(line) - len(line.lstrip(" \t"))) :]
