"""Fenced blocks of code in an answer, and which of them is the program."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A language's name in our data -> what models write behind the fence.
FENCE_NAMES = {"python": re.compile(r"py(thon)?[\d.]*"), "cpp": re.compile(r"(c\+\+|cpp)\d*|cc|cxx|cplusplus")}
_OPENING = re.compile(r"^([ \t]*(?:[-*+>][ \t]+|\d+[.)][ \t]+)?)\*{0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: the first word behind the fence (in small letters), the text, and whether it was closed."""

    name: str
    code: str
    closed: bool


def fenced_blocks(text: str) -> list[Block]:
    """All fenced blocks in order. A fence in the middle of a line, as in a program's string, is none."""
    blocks, lines = [], None
    indent = fence = name = ""
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if lines is None:
            if match := _OPENING.match(line):
                indent, fence, words = match[1], match[2], match[3].split()
                name, lines = (words[0].strip("{}.").lower() if words else ""), []
        elif _closes(line, fence):
            blocks.append(Block(name, _joined(lines), True))
            lines = None
        else:
            lines.append(_without(line, len(indent)))
    return blocks if lines is None else [*blocks, Block(name, _joined(lines), False)]


def last_program(answer: str, language: str) -> tuple[str, str]:
    """(program, "") or ("", why there is none): the last block of the language, however many others there are."""
    blocks = fenced_blocks(answer)
    if not blocks:
        return "", "no_code_block"
    ours = [block for block in blocks if FENCE_NAMES[language].fullmatch(block.name)]
    if not ours:
        return "", "other_language"
    return (ours[-1].code, "") if ours[-1].closed else ("", "unclosed_block")


def _closes(line: str, fence: str) -> bool:
    text = line.strip(" \t>").rstrip("* \t")  # a block in bold type ends with ```**
    return len(text) >= len(fence) and not text.strip(fence[0])


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n" if lines else ""


def _without(line: str, indent: int) -> str:
    """A line without the indentation that its fence has, as far as it is blank."""
    return line[min(indent, len(line) - len(line.lstrip(" \t"))) :]
