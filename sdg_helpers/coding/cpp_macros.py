"""Put a C++ program's own macros in their places, so that a parser that knows none can read `rep(i, 0, n) { … }`.

A text replacement with a bound on its length, for looking only: no program is made of it.
"""

from __future__ import annotations

import re

# A word is one with the # of `#x` before it, not that of `a##b`, and none in a number: the LL of 1LL is no macro.
_TOKEN = re.compile(
    r'(?P<skip>(?P<comment>//(?:[^\n\\]|\\.)*|/\*.*?\*/)|/\*.*|R"(?P<mark>[^()\\\s]{0,16})\((?:.*?\)(?P=mark)"|.*)|'
    r'"(?:[^"\\\n]|\\.)*"|(?<![0-9A-Fa-f])\'(?:[^\'\\\n]|\\.)*\')|'
    r"(?P<hash>(?<!#)#[ \t]*)?\b(?P<word>[A-Za-z_]\w*)",
    re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.MULTILINE | re.DOTALL)
_DEFINE = re.compile(r"[ \t]*#[ \t]*define[ \t]+([A-Za-z_]\w*)(\(([^()]*)\))?[ \t]*(.*)", re.DOTALL)
_OPENING = re.compile(r"\s*\(")
_PUNCTUATION = re.compile(r""""(?:[^"\\\n]|\\.)*"|(?<![0-9A-Fa-f])'(?:[^'\\\n]|\\.)*'|[()\[\]{},]""")
_GROWTH, _ROUNDS, _LONGEST_ARGUMENT = 4, 8, 20_000


def expanded(source: str) -> str:
    """The program without its directives and with its macros replaced; as it was when that makes it too long."""
    text = _TOKEN.sub(lambda match: " " if match["comment"] else match[0], source)
    macros = _macros(text)
    text = _DIRECTIVE.sub("", text)
    limit = _GROWTH * len(source) + 20_000
    for _ in range(_ROUNDS):
        before, text = text, _replaced(text, macros, limit)
        if text == before:
            break
        if len(text) > limit:
            return source
    return text


def words(source: str) -> set[str]:
    """Every word of a program, macros included, comments and strings not."""
    return {match["word"] for match in _TOKEN.finditer(source) if match["word"]}


def _macros(source: str) -> dict[str, tuple[list[str] | None, str]]:
    found = {}
    for directive in _DIRECTIVE.findall(source):
        if match := _DEFINE.match(directive):
            names = [name.strip() for name in match[3].split(",")] if match[2] else None
            found[match[1]] = names, re.sub(r"\\\n", " ", match[4]).strip()
    return found


def _replaced(text: str, macros: dict[str, tuple[list[str] | None, str]], limit: int) -> str:
    out, place, length, skipped = [], 0, 0, 0
    for match in _TOKEN.finditer(text):
        if match.start() < skipped or match["word"] not in macros:
            continue
        names, body = macros[match["word"]]
        skipped, arguments = (match.end(), []) if names is None else _arguments(text, match.end())
        if arguments is None:
            continue
        piece = body if names is None else _filled(body, names, arguments)
        out += [text[place : match.start()], piece]
        length += match.start() - place + max(len(piece), len(body))  # a body costs its time, whatever is left of it
        place = skipped
        if length > limit:
            break
    return "".join([*out, text[place:]])


def _arguments(text: str, start: int) -> tuple[int, list[str] | None]:
    """(where the call ends, its arguments); (how far it was looked for, None) when there is no call."""
    opening = _OPENING.match(text, start)
    if not opening:
        return start, None
    depth, begin, found = 1, opening.end(), []
    for match in _PUNCTUATION.finditer(text, begin):
        if match[0] in "([{":
            depth += 1
        elif match[0] in ")]}":
            depth -= 1
            if not depth:
                return match.end(), [*found, text[begin : match.start()].strip()]
        elif match[0] == "," and depth == 1:
            found.append(text[begin : match.start()].strip())
            begin = match.end()
        if match.start() - begin > _LONGEST_ARGUMENT:
            return match.start(), None
    return len(text), None


def _filled(body: str, names: list[str], arguments: list[str]) -> str:
    values = dict(zip(names, arguments, strict=False))
    if names and names[-1].endswith("..."):
        rest = names[-1].removesuffix("...").strip() or "__VA_ARGS__"
        values[rest] = ", ".join(arguments[len(names) - 1 :])
        if not values[rest]:  # the comma goes with what is not there: `f(a, ##__VA_ARGS__)` is f(a)
            body = re.sub(rf",\s*##\s*{re.escape(rest)}\b", "", body)
    return re.sub(r"(?<!\s)\s*##\s*", "", _TOKEN.sub(lambda match: _argument(match, values), body))


def _argument(match: re.Match[str], values: dict[str, str]) -> str:
    """What a token of a macro's body becomes: `#x` a string, `x` what was given for it."""
    if match["word"] not in values:
        return match[0]
    return '"text"' if match["hash"] else values[match["word"]]


_IDIOMS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"(\bnew\s[\w:\s]{1,99}(?:<[^;(){}]{0,99}>)?)\s*\*[\s*]*(?=[\[;,)])", r"\1"),  # new int*[n]: new int[n]
        # (a = b, c): (a == b, c)
        (r"(\(\s*\*?\w(?:[\w.]|->|\[[^;{}\[\]]{0,99}\]){0,99}\s*)(?:[-+*/%&|^]|<<|>>)?=(?!=)", r"\1=="),
        (r"=\s*(?=\{[^;{}]{0,199}\}\s*[,)])", "=T"),  # f(P p = {1, 2}): f(P p =T{1, 2})
        (r"((?:[=(,]|\breturn)\s*)typename\b(?=\s+[\w:]{1,99}[({])", r"\1"),  # x = typename A::B(): x = A::B()
        (r"(\bcase\b(?:[^;{}?\":]|::){1,99}?[\w')]\s?)\.\.\.", r"\1+"),  # case 1 ... 5: case 1 + 5
        (r"([?:]\s*)throw\b", r"\1"),  # a ? b : throw c: a ? b : c
    )
)


def plain(source: str) -> str:
    """The program with what the grammar lacks said in another way."""
    for pattern, replacement in _IDIOMS:
        source = pattern.sub(replacement, source)
    return source
