"""Read a question and its options from a model's reply, or say why it has none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sdg_helpers.answers.finish_reasons import ended_by_itself
from sdg_helpers.answers.options import LETTERS, text_key
from sdg_helpers.answers.thinking import split_thinking
from sdg_helpers.science.question_layouts import option_lines

# Why a reply is dropped.
REASONS = (
    "unfinished",
    "does_not_parse",
    "fewer_options",
    "more_options",
    "repeated_options",
    "gives_its_answer_away",
    "needs_a_figure",
    "copies_an_example",
    "repeated",
)
MAX_LENGTH = 8000  # characters of a reply; a longer one is not an exam question
_OPTION = re.compile(r"[ \t]*(?:[-*+][ \t]+)?(\**)\(?([A-Z])\**[.):]\**(?:[ \t](.*))?")
_HEADING = re.compile(r"[\s#*_]*(?:(?:new|exam|final)[ \t]+)?question(?:[ \t]*\d+)?[*_ \t]*[:.][*_ \t]*", re.IGNORECASE)
_OPTIONS_LINE = re.compile(r"[\s#*_]*(?:answer )?(?:options|choices)[\s*_:]*", re.IGNORECASE)
_RULE = re.compile(r"[\s\-=_*`#.]*")
_TELLS = re.compile(
    r"\b(?:the )?(?:correct|right)?[ \t]*(?:answer|option|choice|solution|explanation|key)\b[ \t*_]*"
    r"(?::|\bis\b)[ \t*_$(\[]*(?:option[ \t]+)?(?:\S|$)",
    re.IGNORECASE,
)
_TELLS_IN_STEM = re.compile(
    r"\b(?:correct|right|answer|hint|key)\b[^.?\n]{0,20}(?::|\bis\b)[ \t*_$(\[]*"
    r"(?:option[ \t]+)?[A-J][)\].*_]*[ \t]*(?:$|[\n.,;)])",
    re.IGNORECASE,
)
_MARK = re.compile(
    r"[✓✔✅☑]|[(\[*_<\-–—←][ \t]*(?:(?:this|it)[ \t]+is[ \t]+)?(?:the[ \t]+)?"
    r"(?:correct|(?:correct|right|true)[ \t]+(?:answer|option|choice))[ \t]*(?:[)\]*_]|$)",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(r"[\s*_]*(?:sure|certainly|of course|okay|here)\b.*[:!.][\s*_]*", re.IGNORECASE)
_PICTURE = r"(?:figure|diagram|graph|table|picture|image|plot|chart)"
_FIGURE = re.compile(
    rf"\b{_PICTURE}\b[^.?\n]{{0,20}}\b(?:below|above)\b|\bfollowing {_PICTURE}\b|\b{_PICTURE} \d|"
    rf"\b(?:shown|depicted|drawn|illustrated|seen)\b[^.?\n]{{0,10}}\b(?:in|on|by) the {_PICTURE}\b",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Question:
    """A question and its options, without letters. An open question has no options."""

    text: str
    options: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """The text that a model is shown: the question, an empty line, then one option per line (`A. …`)."""
        lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False)]
        return "\n\n".join([self.text, "\n".join(lines)]) if lines else self.text


def read_question(reply: str, num_options: int, finish_reason: str = "stop") -> Question | str:
    """Return the question in a reply, or the reason (one of REASONS) why it has none, in linear time.

    num_options: how many were asked for; 0 for an open question. Thinking is ignored.
    """
    _, answer = split_thinking(reply)
    if not ended_by_itself(finish_reason):
        return "unfinished"
    if not answer.strip() or len(answer) > MAX_LENGTH:
        return "does_not_parse"
    lines = option_lines(answer)
    stem, options, marks, rest = _split_reply(lines)
    if any(_TELLS.search(line) for line in rest) or _TELLS_IN_STEM.search(stem) or _singles_out(options, marks):
        return "gives_its_answer_away"
    if rest or len(_WORDS.findall(stem)) < 3:
        return "does_not_parse"
    if not options and num_options and not any(map(_HEADING.match, lines)):
        return "does_not_parse"
    return _flaw(stem, options, num_options) or Question(stem, tuple(map(_bare, options)))


def _flaw(stem: str, options: list[str], num_options: int) -> str | None:
    if len(options) != num_options:
        return "fewer_options" if len(options) < num_options else "more_options"
    if not all(map(_bare, options)):
        return "fewer_options"
    if len({text_key(_bare(option)) for option in options}) < len(options):
        return "repeated_options"
    return "needs_a_figure" if _FIGURE.search(stem) else None


def _split_reply(lines: list[str]) -> tuple[str, list[str], list[bool], list[str]]:
    """Return (question, options, whether each option's label is bold, the non-empty lines after the options)."""
    found = [(number, match) for number, line in enumerate(lines) if (match := _OPTION.fullmatch(line))]
    begin = max((place for place, (_, match) in enumerate(found) if match[2] == "A"), default=len(found))
    run: list[tuple[int, re.Match[str]]] = []
    for number, match in found[begin:]:
        if match[2] == LETTERS[len(run) % len(LETTERS)]:  # any other label belongs to the text of the previous option
            run.append((number, match))
    if not run:
        stem, tail = _split_at_answer(lines)
        return _stem(stem), [], [], tail
    options, marks = [match[3] or "" for _, match in run], [bool(match[1]) for _, match in run]
    for place, (number, _) in enumerate(run[:-1]):
        options[place] = " ".join([options[place], *lines[number + 1 : run[place + 1][0]]])
    last = run[-1][0] + 1
    while last < len(lines) and not _RULE.fullmatch(lines[last]) and not _TELLS.search(lines[last]):
        options[-1] += " " + lines[last]
        last += 1
    return _stem(lines[: run[0][0]]), options, marks, [line for line in lines[last:] if not _RULE.fullmatch(line)]


def _split_at_answer(lines: list[str]) -> tuple[list[str], list[str]]:
    """Split an open question from the lines that give its answer, if any."""
    for number, line in enumerate(lines):
        if number and re.match(r"[\s#*_]*(?:answer|solution|explanation)\b", line, re.IGNORECASE):
            return lines[:number], lines[number:]
    return lines, []


def _stem(lines: list[str]) -> str:
    kept = [line.rstrip() for line in lines]
    if len(kept) > 1 and _PREAMBLE.fullmatch(kept[0]):
        kept = kept[1:]
    while kept and (_RULE.fullmatch(kept[-1]) or _OPTIONS_LINE.fullmatch(kept[-1])) and not _closes_fence(kept):
        kept.pop()
    for number, line in enumerate(kept):
        if heading := _HEADING.match(line):
            kept = [line[heading.end() :], *kept[number + 1 :]]
            break
    return "\n".join(kept).strip().removeprefix("**").removesuffix("**").strip()


def _closes_fence(lines: list[str]) -> bool:
    """Return whether the last line closes a block of code in the question."""
    return lines[-1].strip() == "```" and sum(line.lstrip().startswith("```") for line in lines) % 2 == 0


def _singles_out(options: list[str], bold: list[bool]) -> bool:
    """Return whether one option is marked as the right one: by a word or a sign, or as the only bold one."""
    return any(_MARK.search(option) for option in options) or (len(options) > 2 and sum(bold) == 1)


def _bare(option: str) -> str:
    return " ".join(option.replace("**", "").split())
