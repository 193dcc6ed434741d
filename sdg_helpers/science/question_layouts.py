"""Bring the layouts in which models write questions to one: the question, then one option per line, `A. …`."""

from __future__ import annotations

import re
from typing import Any

from sdg_helpers import exact_json
from sdg_helpers.answers.options import LETTERS

_FENCE = re.compile(r"(```+|~~~+)[ \t]*\w*")
_LATEX_LABEL = re.compile(r"\$[ \t]*\\(?:textbf|text|mathbf|mathrm)\{\(?([A-J])[.)]?\)?\}(?:\\ |~|[ \t])*\$[ \t]*")
_SMALL = re.compile(r"([ \t]*(?:[-*+][ \t]+)?\**\(?)([a-j])(\**[.)]\**[ \t].*)")
_LARGE = re.compile(r"[ \t|]*(?:[-*+][ \t]+)?\**\(?([A-J])\**[.):]")
_FURTHER = re.compile(r"(?<=[ \t|])\(?([B-J])[.)][ \t]")  # the label of a further option in a line
_ANSWER_KEYS = ("answer", "correct_answer", "correct", "correct_option", "solution", "explanation")


def option_lines(answer: str) -> list[str]:
    """Return the lines of a reply, without a fence around it, each option on a line of its own."""
    lines = _without_fence(answer.strip().splitlines())
    lines = _read_json("\n".join(lines)) or lines
    lines = [part for line in lines for part in _split_labels(_LATEX_LABEL.sub(r"  (\1) ", line))]
    return _enlarge(lines)


def _without_fence(lines: list[str]) -> list[str]:
    """Return the lines inside a fence that ends the reply and begins it, or follows one line of introduction."""
    for first in (0, 1, 2):
        if len(lines) <= first + 1 or not (opening := _FENCE.fullmatch(lines[first].strip())):
            continue
        closing = [n for n in range(first + 1, len(lines)) if lines[n].strip() == opening[1]]
        if closing == [len(lines) - 1]:
            return [*lines[:first], *lines[first + 1 : -1]]
    return lines


def _read_json(text: str) -> list[str]:
    """Return the lines of a question written as a JSON object; [] for any other text."""
    try:
        row = exact_json.loads(text[text.index("{") :].encode()) if "{" in text[:200] else None
    except ValueError:
        return []
    if not isinstance(row, dict):
        return []
    row = {str(key).lower(): value for key, value in row.items()}
    options = row.get("options") or row.get("choices") or []
    values = _values(options)
    if not isinstance(row.get("question"), str) or values is None:
        return []
    answers = [f"Answer: {row[key]}" for key in _ANSWER_KEYS if row.get(key)]
    return [
        f"Question: {row['question'].strip()}",
        *(f"{letter}. {' '.join(value.split())}" for letter, value in zip(LETTERS, values, strict=False)),
        *answers,
    ]


def _values(options: Any) -> list[str] | None:
    """Return the options of a JSON list, or of an object from A on; None for anything else."""
    if isinstance(options, dict):
        if list(options) != list(LETTERS[: len(options)]):
            return None
        options = list(options.values())
    known = isinstance(options, list) and len(options) <= len(LETTERS)
    if not known or not all(isinstance(one, str | int) for one in options):
        return None
    return [str(one) for one in options]


def _split_labels(line: str) -> list[str]:
    """Split a line that holds several options, such as "A) x    B) y"."""
    if not (label := _LARGE.match(line)):
        return [line]
    parts, begin, last = [], 0, label[1]
    for further in _FURTHER.finditer(line, label.end()):
        if ord(further[1]) == ord(last) + 1 and (end := _end_before(line, further.start())) is not None:
            parts.append(line[begin:end])
            begin, last = further.start(), further[1]
    return [part.strip(" \t|") for part in [*parts, line[begin:]]] if parts else [line]


def _end_before(line: str, label: int) -> int | None:
    """Return where the option before a label ends; None where nothing but a space is between the two."""
    before = line[:label].rstrip(" \t")
    for separator in ("\\qquad", "\\quad", "|"):
        if before.endswith(separator):
            return len(before) - len(separator)
    gap = line[len(before) : label]
    return len(before) if len(gap) > 1 or "\t" in gap else None


def _enlarge(lines: list[str]) -> list[str]:
    """Write the labels a), b), c) … as capitals, if there are no others and none is missing."""
    small = [(number, found) for number, line in enumerate(lines) if (found := _SMALL.fullmatch(line))]
    labels = "".join(found[2].upper() for _, found in small)
    if len(labels) < 2 or not LETTERS.startswith(labels) or any(map(_LARGE.match, lines)):
        return lines
    for number, found in small:
        lines[number] = f"{found[1]}{found[2].upper()}{found[3]}"
    return lines
