"""Texts that a regular expression almost matches: the repetitions of its parts, which make bad ones backtrack."""

import itertools
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    from re import _constants as codes
    from re import _parser as parser
else:
    import sre_constants as codes
    import sre_parse as parser

LETTERS = " a1A\\\n\t{(}-*\"'_.,x0$é"
REPEATS = {code for code in map(vars(codes).get, ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")) if code is not None}


class Text(NamedTuple):
    """A head, a part that is repeated, and a tail that spoils the match."""

    head: str
    part: str
    tail: str

    def of_length(self, length: int) -> str:
        return self.head + self.part * (length // len(self.part)) + self.tail


def near_matches(pattern: re.Pattern[Any], seed: int = 0) -> list[Text]:
    """Return texts that repeat what the pattern repeats, whole matches, and letters that it names."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = list(parser.parse(source, 0 if isinstance(pattern.pattern, str) else pattern.flags))
    wholes = _samples(tree, 2)[:4]
    found = [Text(head, part, "\0") for head, part in _named_letters(source, wholes, random.Random(seed))]
    for head, part in dict.fromkeys(_repeats(tree, ("",))):
        found += [Text(head, part, tail) for tail in ("\0", "x", "\n\1", "`\1")]
        found += [Text("", head + part, "\0"), Text("", part, "\0"), Text("", head + part + part, "z")]
        found += [Text("", head, "\0")] if head else []
    found += [Text("", text, tail) for whole in wholes for text, tail in ((whole, ""), (whole[:-1], "\0")) if text]
    return list(dict.fromkeys(found))


def _named_letters(source: str, wholes: Sequence[str], draw: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (head, part): parts of one to five of the pattern's own punctuation marks, a letter, digit, space, line."""
    named = re.sub(r"\\[A-Za-z]", "", source)
    letters = list(dict.fromkeys([c for c in named if not c.isalnum()]))[:7] + [" ", "a", "1", "\n"]
    pairs = ["".join(some) for length in (1, 2) for some in itertools.product(letters, repeat=length)]
    longer = ["".join(draw.choices(letters, k=draw.randint(3, 5))) for _ in range(30)]
    yield from (("", part) for part in [*pairs, *longer])
    yield from ((whole, part) for whole in wholes[:1] for part in [*letters, *longer])


def _samples(nodes: Iterable[tuple[Any, Any]], count: int) -> list[str]:
    """Return a few texts that a part of a pattern matches."""
    texts = [""]
    for code, value in nodes:
        texts = [text + more for text in texts[:2] for more in _samples_of(code, value, count)[:4]][:6]
    return texts


def _samples_of(code: Any, value: Any, count: int) -> list[str]:
    if code is codes.LITERAL:
        return [chr(value)]
    if code is codes.NOT_LITERAL:
        return [letter for letter in LETTERS if ord(letter) != value][:2]
    if code is codes.ANY:
        return ["a", "\\"]
    if code is codes.IN:
        return _members(value)[:count]
    if code is codes.BRANCH:
        return [text for branch in value[1] for text in _samples(branch, 1)][:6]
    if code is codes.SUBPATTERN:
        return _samples(value[3], count)
    if code in REPEATS:
        least, _, body = value
        return [text * max(least, 1) for text in _samples(body, 1)[:2]] + ([] if least else [""])
    return [""]


def _members(items: list[tuple[Any, Any]]) -> list[str]:
    """Return some letters of a class such as `[^"\\n]`."""
    negated = any(code is codes.NEGATE for code, _ in items)
    named = [
        chr(value if code is codes.LITERAL else value[0])
        for code, value in items
        if code in (codes.LITERAL, codes.RANGE)
    ]
    letters = [*([] if negated else named[:2]), *LETTERS, *map(chr, range(33, 127))]
    return [letter for letter in letters if any(_holds(item, letter) for item in items) != negated] or ["a"]


def _holds(item: tuple[Any, Any], letter: str) -> bool:
    code, value = item
    if code is codes.LITERAL:
        return ord(letter) == value
    if code is codes.RANGE:
        return value[0] <= ord(letter) <= value[1]
    if code is not codes.CATEGORY:
        return False
    kind = str(value)
    held = (
        letter.isdigit()
        if "DIGIT" in kind
        else letter.isspace()
        if "SPACE" in kind
        else letter.isalnum() or letter == "_"
    )
    return held != ("NOT" in kind)


def _repeats(nodes: Sequence[tuple[Any, Any]], heads: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (a text before a repetition, a text that it repeats) for every repetition of more than eight."""
    for place, (code, value) in enumerate(nodes):
        before = [head + text for head in heads[:2] for text in _samples(nodes[:place], 1)[:2]]
        if code in REPEATS:
            if value[1] > 8:
                yield from ((head, part) for part in _samples(value[2], 3)[:5] if part for head in before[:3])
            yield from _repeats(list(value[2]), before)
        elif code is codes.SUBPATTERN:
            yield from _repeats(list(value[3]), before)
        elif code is codes.BRANCH:
            for branch in value[1]:
                yield from _repeats(list(branch), before)
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _repeats(list(value[1]), before)
