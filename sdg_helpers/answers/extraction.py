"""Find the answer in a solution: normalise the thinking, find the last box, check that the solution is finished."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

OPEN, CLOSE = "<think>", "</think>"
_BOX = r"\\boxed[ \t]{0,8}\{"
_TOKEN = re.compile(_BOX + r"|\\\\(?!boxed)|\\[{}]|[{}]")


def normalise_reasoning(content: str | None, reasoning_content: str | None = None) -> str:
    """Return every shape of reasoning output as one text: `<think>…</think>`, then the answer.

    Servers send the thinking separately (`reasoning_content`), inline, or inline without its opening tag because the
    chat template already wrote it. Thinking that never ended stays unclosed. Idempotent.
    """
    content, thinking = content or "", (reasoning_content or "").strip()
    thinking = thinking.removeprefix(OPEN).removesuffix(CLOSE).strip()
    if thinking:
        answer = content.strip().removeprefix(CLOSE).strip()
        return f"{OPEN}\n{thinking}" + (f"\n{CLOSE}\n\n{answer}" if answer else "")
    end = content.find(CLOSE)
    if end >= 0 and not 0 <= content.find(OPEN) < end:
        return f"{OPEN}\n{content.lstrip()}"
    return content.lstrip() if content.lstrip().startswith(OPEN) else content


def split_thinking(generation: str) -> tuple[str | None, str]:
    """Split a normalised solution at its last `</think>` into (thinking, answer text).

    The thinking is None without think tags; the answer text is "" if the thinking never ended.
    """
    head, tag, tail = generation.rpartition(CLOSE)
    if tag:
        return head.removeprefix(OPEN).strip(), tail
    before, tag, unclosed = generation.partition(OPEN)
    return (unclosed.strip(), "") if tag else (None, before)


def extract_boxed(text: str) -> str | None:
    r"""Return the content of the last \boxed{…} with balanced braces (`\{` and `\}` are not braces), or None.

    The innermost of nested boxes counts. Takes linear time on any text.
    """
    place = find_boxed(text)
    return text[slice(*place)] if place else None


def find_boxed(text: str) -> tuple[int, int] | None:
    """Return where the content that `extract_boxed` returns starts and ends, or None."""
    start = text.rfind(r"\boxed")
    return None if start < 0 else _last_balanced(text, start) or _last_balanced(text, text.find(r"\boxed"))


def _last_balanced(text: str, start: int) -> tuple[int, int] | None:
    opened: list[int | None] = []  # where a box's content begins, None for any other brace
    begin, end = -1, -1
    for match in _TOKEN.finditer(text, start):
        token = match[0]
        if token == "}":
            if opened and (inside := opened.pop()) is not None and inside > begin:
                begin, end = inside, match.start()
        elif token == "{":
            opened.append(None)
        elif token.startswith(r"\boxed"):
            opened.append(match.end())
    return (begin, end) if begin >= 0 else None


def is_finished(finish_reason: str | None, generation: str, reasoning: bool = True) -> bool:
    """Return whether the model finished by itself: `stop`, with closed thinking.

    reasoning: the model thinks, so a solution without `</think>` is not finished.
    """
    return finish_reason == "stop" and (CLOSE in generation or not (reasoning or OPEN in generation))


def extract_answer(row: Mapping[str, Any], reasoning: bool = True) -> str | None:
    """Return the last box after the thinking of a finished solution, stripped, or None.

    A guess in an unfinished solution, or a box inside the thinking only, is not an answer.
    """
    generation = row["generation"]
    if not is_finished(row["finish_reason"], generation, reasoning):
        return None
    boxed = extract_boxed(generation[generation.rfind(CLOSE) + len(CLOSE) if CLOSE in generation else 0 :])
    return (boxed.strip() or None) if boxed is not None else None
