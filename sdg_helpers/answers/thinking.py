"""The thinking in a reply: bring every server's form of it to `<think>…</think>answer`, and check the result."""

from __future__ import annotations

import re
from typing import Literal

OPEN, CLOSE = "<think>", "</think>"
_TAG_END = "think>"  # of both

# Other tags around inline thinking: Gemini's thought, Magistral's [THINK], Seed-OSS, Kimi-VL, gpt-oss.
_FOREIGN_TAGS = (
    ("<thought>", "</thought>"),
    ("<thinking>", "</thinking>"),
    ("<THINK>", "</THINK>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
)
_BROKEN_START = re.compile(rf"[\s\ufeff\ufffd\u200b]+(?={OPEN})")  # white space and bytes that were no text
_REPEATED_OPEN = re.compile(rf"(?:{OPEN}\s*){{2,}}")

_ANOTHER = re.compile(rf"{CLOSE}\s*{OPEN}")

Shape = Literal["none", "closed", "unclosed", "unclear"]
ThinkingForm = Literal["none", "inline", "apart", "twice"]


def normalise_reasoning(content: str | None, reasoning_content: str | None = None) -> str:
    """Return every shape of reasoning output as one text: `<think>…</think>`, then the answer.

    Servers send the thinking separately (`reasoning_content`), inline, inline without its opening tag because the chat
    template already wrote it, or both ways at once: then it is kept once. Thinking that never ended stays unclosed.
    Idempotent.
    """
    content = content or ""
    if not reasoning_content and content.startswith(OPEN) and content.find(OPEN, 1) < 0:
        return content  # the usual form
    content = _without_broken_start(_with_own_tags(content))
    thinking = _with_own_tags(reasoning_content or "").strip()
    thinking = thinking.removeprefix(OPEN).removesuffix(CLOSE).strip()
    if thinking:
        inline, answer = _split_leading(content.strip(), thinking)
        answer = answer.strip()
        content = f"{OPEN}\n{_merge(thinking, inline)}" + (f"\n{CLOSE}\n\n{answer}" if answer else "")
    return _normalise_inline(content)


def _normalise_inline(content: str) -> str:
    """Return a text with its thinking in one part at its beginning, opened where the chat template opened it."""
    end = content.find(CLOSE)
    if end >= 0 and not 0 <= content.find(OPEN) < end:
        content = f"{OPEN}\n{content.lstrip()}"
    return _join_leading(content.lstrip()) if content.lstrip().startswith(OPEN) else content


def read_thinking(content: str, reasoning: str) -> tuple[str, Shape]:
    """Return a reply's text as `normalise_reasoning` joins it, and its `thinking_shape`."""
    if not reasoning and content.startswith(OPEN) and (shape := thinking_shape(content)) != "unclear":
        return content, shape  # the usual form, in one pass over the text
    text = normalise_reasoning(content, reasoning)
    return text, thinking_shape(text)


def split_thinking(generation: str) -> tuple[str | None, str]:
    """Split a normalised solution at its last `</think>` into (thinking, answer text).

    The thinking is None without think tags; the answer text is "" if the thinking never ended.
    """
    head, tag, tail = generation.rpartition(CLOSE)
    if tag:
        return head.removeprefix(OPEN).strip(), tail
    before, tag, unclosed = generation.partition(OPEN)
    return (unclosed.strip(), "") if tag else (None, before)


def thinking_shape(generation: str) -> Shape:
    """Return what thinking a normalised solution has: none, one closed part, or one unclosed part, at its beginning.

    Anything else is "unclear": several parts, text before the thinking, or a tag inside the thinking or the answer. It
    cannot be told where such an answer begins, so no row may have this shape.
    """
    if generation.startswith(OPEN) and _is_plain(generation):
        return "closed"
    tags = generation.count(_TAG_END)
    if not tags:
        return "none"
    if tags <= 2 and generation.startswith(OPEN):
        if tags == 1:
            return "unclosed"
        if generation.rfind(CLOSE) > 0:
            return "closed"
    return shape_of(generation.count(OPEN), generation.count(CLOSE), generation.startswith(OPEN))


def shape_of(opened: int, closed: int, at_start: bool) -> Shape:
    """Return the `thinking_shape` of a text with so many tags. at_start: whether an opening one is its beginning."""
    if opened == closed == 0:
        return "none"
    if opened == 1 and closed <= 1 and at_start:
        return "closed" if closed else "unclosed"
    return "unclear"


def _is_plain(opened: str) -> bool:
    """Return whether the only other `<` of an opened text begins its closing tag: most texts, and fast."""
    close = opened.find("<", 1)
    return opened.startswith(CLOSE, close) and opened.find("<", close + 1) < 0


def thinking_form(content: str, reasoning: str, shape: Shape) -> ThinkingForm:
    """Return how a server sent the thinking of a reply. shape: of the normalised text."""
    if not reasoning.strip():
        return "none" if shape == "none" else "inline"
    return "apart" if thinking_shape(normalise_reasoning(content)) == "none" else "twice"


def _with_own_tags(text: str) -> str:
    """Replace another model's tags around thinking at the beginning of a text by ours."""
    start = text.lstrip()
    for opening, closing in _FOREIGN_TAGS:
        if start.startswith(opening):
            return OPEN + start[len(opening) :].replace(closing, CLOSE, 1)
    return text


def _without_broken_start(text: str) -> str:
    return text[broken.end() :] if (broken := _BROKEN_START.match(text)) else text


def _split_leading(content: str, thinking: str) -> tuple[str, str]:
    """Split content that repeats or continues its separate thinking into (inline thinking, answer)."""
    if content.startswith((OPEN, CLOSE)):
        inline, _, answer = _join_leading(content).removeprefix(OPEN).partition(CLOSE)
        return inline.strip(), answer
    head, tag, answer = content.partition(CLOSE)
    if tag and _folded(head) in _folded(thinking):
        return head.strip(), answer
    return "", content


def _join_leading(text: str) -> str:
    """Join opening tags, and whole parts, that follow each other at the beginning of a text, into one part."""
    text = _REPEATED_OPEN.sub(f"{OPEN}\n", text, count=1) if _REPEATED_OPEN.match(text) else text
    parts, position = [], 0
    while (end := text.find(CLOSE, position)) >= 0 and (again := _ANOTHER.match(text, end)) is not None:
        parts.append(text[position:end].removeprefix(OPEN).strip())
        position = again.end() - len(OPEN)
    if not position:
        return text
    return f"{OPEN}\n" + "\n\n".join([*filter(None, parts), text[position:].removeprefix(OPEN).lstrip()])


def _merge(first: str, second: str) -> str:
    """Return both texts, or only the longer one if it holds the other."""
    if _folded(second) in _folded(first):
        return first
    return second if _folded(first) in _folded(second) else f"{first}\n\n{second}"


def _folded(text: str) -> str:
    return " ".join(text.split())
