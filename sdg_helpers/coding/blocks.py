"""Fenced code blocks in an answer, and which of them is the program."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A language's name in our data -> the names that models write after the fence.
FENCE_NAMES = {"python": re.compile(r"py(thon)?[\d.]*"), "cpp": re.compile(r"(c\+\+|cpp)\d*|cc|cxx|cplusplus")}
_OPENING = re.compile(r"^([ \t]*(?:[-*+>][ \t]+|\d+[.)][ \t]+)?)\*{0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block. name: the first word after the opening fence, in lower case; closed: whether its fence is."""

    name: str
    code: str
    closed: bool


def fenced_blocks(text: str) -> list[Block]:
    """Return all fenced blocks in order. A fence inside a line, as in a program's string, does not count."""
    blocks: list[Block] = []
    lines: list[str] | None = None  # of the open block
    indent = fence = name = ""
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if lines is None:
            if match := _OPENING.match(line):
                indent, fence, words = match[1], match[2], match[3].split()
                name, lines = (words[0].strip("{}.").lower() if words else ""), []
        elif _closes(line, fence):
            blocks.append(Block(name, _join(lines), True))
            lines = None
        else:
            lines.append(_dedent(line, len(indent)))
    return blocks if lines is None else [*blocks, Block(name, _join(lines), False)]


def last_program(answer: str, language: str) -> tuple[str, str]:
    """Return (program, "") for the last block of the language, whatever other blocks there are, or ("", reason).

    Reasons: no_code_block, other_language, unclosed_block.
    """
    blocks = fenced_blocks(answer)
    if not blocks:
        return "", "no_code_block"
    candidates = [block for block in blocks if FENCE_NAMES[language].fullmatch(block.name)]
    if not candidates:
        return "", "other_language"
    return (candidates[-1].code, "") if candidates[-1].closed else ("", "unclosed_block")


def _closes(line: str, fence: str) -> bool:
    text = line.strip(" \t>").rstrip("* \t")  # a block in bold type ends with ```**
    return len(text) >= len(fence) and not text.strip(fence[0])


def _join(lines: list[str]) -> str:
    return "\n".join(lines) + "\n" if lines else ""


def _dedent(line: str, indent: int) -> str:
    """Remove the indentation of the opening fence from a line, as far as the line has it."""
    return line[min(indent, len(line) - len(line.lstrip(" \t"))) :]
