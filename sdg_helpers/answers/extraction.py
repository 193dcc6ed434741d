"""Find the answer in a solution: choose among the boxes, check that it is finished."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sdg_helpers.answers.boxes import Box, find_boxes, is_placeholder, undress
from sdg_helpers.answers.equality import canonical
from sdg_helpers.answers.finish_reasons import ended_by_itself
from sdg_helpers.answers.thinking import CLOSE, OPEN, split_thinking

MAX_ANSWER = 2000  # characters; a longer box is not a final answer
_MAX_BOXES = 50  # of several different answers; more are a list of something else
_LEAD = 200  # characters before a box that may introduce it
_MARKUP = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}|\\[()\[\]]|\\q?quad|\*\*|[$#*_>`]")
_CONNECTOR = re.compile(
    r"[\s,;&]*(?:(?:and|or|und|oder|et|ou|y|и|或|和|与|及)(?![A-Za-z])[\s,]*)?(?:(?P<label>[^\s=]{1,12}\s*=)\s*)?"
)
_LABEL = re.compile(r"(?<![\w\\])(\\?[A-Za-z][\w'{}()]{0,8})\s*=\s*$")
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correct(?:ion|ed|ing)?|sorry|mistake|instead|rather|oops|re-?check(?:ing)?|error|wrong|final)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?。]\s|\n")


class Extracted(NamedTuple):
    """answer: None without one. ambiguous: there are several different boxes, and none is the answer."""

    answer: str | None
    ambiguous: bool = False


def extract_boxed(text: str) -> str | None:
    r"""Return the content of the last \boxed{…} that is closed and no placeholder, or None.

    The innermost of nested boxes counts. None, too, if a later box is never closed.
    """
    place = find_boxed(text)
    return text[slice(*place)] if place else None


def find_boxed(text: str) -> tuple[int, int] | None:
    """Return where the content that `extract_boxed` returns begins and ends, or None."""
    boxes = _filled_boxes(text)
    return boxes[-1][1:] if boxes else None


def _filled_boxes(text: str) -> list[Box]:
    boxes, is_cut_off = find_boxes(text)
    return [] if is_cut_off else [box for box in boxes if not is_placeholder(text[box.begin : box.end])]


def find_answer(text: str) -> Extracted:
    r"""Return the answer in the text after the thinking.

    Equal boxes are one answer. Different boxes in one sentence are its parts, joined by commas: `$x=\boxed{3}$ and
    $y=\boxed{4}$` is `x=3, y=4`. A box that restates or corrects an earlier one replaces it. Otherwise the answer is
    ambiguous.
    """
    boxes = _filled_boxes(text)
    if not boxes:
        return Extracted(None)
    contents = [undress(text[box.begin : box.end]) for box in boxes]
    if len(set(contents)) > 1 and len(contents) <= _MAX_BOXES:
        contents = _last_statement(text, boxes, contents)
        if len({canonical(content) for content in contents}) == 1:
            return Extracted(contents[-1])
    return Extracted(contents[-1]) if len(set(contents)) == 1 else Extracted(None, ambiguous=True)


def _last_statement(text: str, boxes: list[Box], contents: list[str]) -> list[str]:
    """Join the boxes of each statement; drop the statements that a later one replaces."""
    statements: list[list[int]] = [[0]]
    for index in range(1, len(boxes)):
        gap = text[boxes[index - 1].end + 1 : boxes[index].start]
        if len(gap) <= _LEAD and _CONNECTOR.fullmatch(_plain(gap)):
            statements[-1].append(index)
        else:
            statements.append([index])
    joined = [_join(text, [boxes[index] for index in one], [contents[index] for index in one]) for one in statements]
    kept: list[int] = []
    for number in range(len(statements)):
        if number:
            before, here = boxes[statements[number - 1][-1]], boxes[statements[number][0]]
            gap = _plain(text[max(before.end + 1, here.start - 2 * _LEAD) : here.start])
            lead = _lead(text, here)
            replaces = bool(_CORRECTION.search(gap)) or (
                lead != "" and lead in (_lead(text, boxes[statements[other][0]]) for other in kept)
            )
            kept = [] if replaces else kept
        kept.append(number)
    return [joined[number] for number in kept]


def _plain(text: str) -> str:
    return _MARKUP.sub(lambda match: match[1] or "", text)


def _lead(text: str, box: Box) -> str:
    """Return the words of the sentence before a box."""
    before = _plain(text[max(0, box.start - _LEAD) : box.start])
    sentence = _SENTENCE_END.split(before)[-1]
    return re.sub(r"\W+", " ", sentence).strip().lower()


def _join(text: str, boxes: list[Box], contents: list[str]) -> str:
    if len(set(contents)) == 1:
        return contents[0]
    labels = [_LABEL.search(_plain(text[max(0, box.start - 20) : box.start])) for box in boxes]
    if all(labels) and len({label[1] for label in labels if label}) == len(boxes):
        contents = [f"{label[1]}={content}" for label, content in zip(labels, contents, strict=True) if label]
    return ", ".join(dict.fromkeys(contents))


def is_finished(
    finish_reason: str | None, generation: str, reasoning: bool = True, *, judge_by_form: bool = True
) -> bool:
    """Return whether the model finished by itself, with closed thinking.

    reasoning: the model thinks, so a solution without `</think>` is not finished. judge_by_form: a solution without
    finish reason is finished if its thinking and its last box are closed; otherwise it is not.
    """
    closed = CLOSE in generation or not (reasoning or OPEN in generation)
    ended = ended_by_itself(finish_reason)
    if ended is None:
        return judge_by_form and closed and find_boxed(split_thinking(generation)[1]) is not None
    return ended and closed


def extract_answer(row: Mapping[str, Any], reasoning: bool = True, *, judge_by_form: bool = True) -> str | None:
    """Return the answer after the thinking of a finished solution, or None.

    A guess in an unfinished solution, or a box inside the thinking only, is not an answer. Several different boxes are
    one answer only if they are its parts.
    """
    generation = row["generation"]
    if not is_finished(row.get("finish_reason"), generation, reasoning, judge_by_form=judge_by_form):
        return None
    answer = find_answer(split_thinking(generation)[1]).answer
    return answer if answer and len(answer) <= MAX_ANSWER else None
