"""The stand-in's replies in the science track: new subtopics, questions (some of them broken), solutions that name an
option in one of many spellings, and whether two questions are the same."""

from __future__ import annotations

import re
from collections.abc import Callable

LETTERS = "ABCDEFGHIJ"
SPELLINGS = ("{0}", "{0}.", "({0})", "\\text{{{0}}}", "\\textbf{{({0})}}", "Option {0}", "{0}) {1}", "{1}")
SPOILT = ("fewer", "more", "repeated", "told", "marked", "prose")
_OPTION = re.compile(r"^([A-J])\. (.*)$", re.MULTILINE)

Draw = Callable[..., float]
Evaluate = Callable[[str], object]


def reply(text: str, seed: int | None, accuracy: float, draw: Draw, evaluate: Evaluate) -> tuple[str, str] | None:
    """Return (thinking, answer text) for a request of the science track, None for any other."""
    if "further subtopics of this topic" in text:
        topic = re.search(r"Topic: (.*)", text)[1].lower()
        return "", f"1. measurement in {topic}\n2. models of {topic}\n3. measurement in {topic}"
    if "First question:" in text and "Second question:" in text:
        first, second = text.split("Second question:", 1)
        same = evaluate(first) == evaluate(second.partition("Compare them")[0])
        return "", f"I compare what is asked for.\nJudgement: {'Yes' if same else 'No'}"
    if re.search(r"Write (one .*question|another one|another question)", text):
        return "", question(text, seed, draw)
    options = dict(_OPTION.findall(text))
    if len(options) >= 2:
        return "I work it out and look for the option.", solution(text, options, seed, accuracy, draw, evaluate)
    return None


def question(text: str, seed: int | None, draw: Draw) -> str:
    """Return a question about the subtopic that the text names; one in five is broken in one of the ways of SPOILT, one
    in seven is almost the question that it should vary."""
    source = re.search(r"Question: (A record.*)\n\n((?:[A-J]\. .*\n?)+)", text)
    if source and draw("copy", text, seed) < 0.15:
        return f"Question: {source[1].replace('entries', 'items')}\n{source[2].strip()}"
    asked = re.findall(r"[Ww]ith (\d+) options", text)
    a, b = (2 + int(draw(name, text, seed) * 90) for name in ("a", "b"))
    about = (re.findall(r"Subtopic: (.*)|question in .* about (.*?),", text) or [("the same subject", "")])[-1]
    stem = f"Question: A record of {''.join(about)} has {a} entries of one kind and {b} of another. What is {a} + {b}?"
    if not asked:
        return stem
    options = [str(a + b + shift) for shift in (0, 1, -1, 2, -2, 3, 4, 5, 6, 7)][: int(asked[-1])]
    place = int(draw("place", text, seed) * len(options))
    options[0], options[place] = options[place], options[0]
    spoilt = SPOILT[int(draw("how", text, seed) * len(SPOILT))] if draw("spoilt", text, seed) < 0.2 else ""
    if spoilt == "prose":
        return "I am not sure what you would like me to write."
    options = {"fewer": options[:-1], "more": [*options, "none"], "repeated": [*options[:-1], options[0]]}.get(
        spoilt, options
    )
    lines = [f"{letter}. {option}" for letter, option in zip("ABCDEFGHIJK", options, strict=False)]
    if spoilt == "marked":
        lines[place] += " (correct)"
    return "\n".join([stem, *lines, *([f"Answer: {LETTERS[place]}"] if spoilt == "told" else [])])


def solution(
    text: str, options: dict[str, str], seed: int | None, accuracy: float, draw: Draw, evaluate: Evaluate
) -> str:
    """Return the right option with the given probability, else another one, in one of many spellings."""
    truth = str(evaluate(text.partition("\nA. ")[0]))
    right = next((letter for letter, option in options.items() if option == truth), "A")
    letters = [right] if draw("right", text, seed) < accuracy else [one for one in options if one != right]
    letter = letters[int(draw("letter", text, seed) * len(letters))]
    how = SPELLINGS[int(draw("spelling", text, seed) * len(SPELLINGS))]
    return f"The sum tells.\n\nThe right option is \\boxed{{{how.format(letter, options[letter])}}}."
