"""Expand a C++ program's own macros and rewrite syntax that the grammar lacks, so that a parser can read the program.

The parser knows no macros, and `rep(i, 0, n) { … }` is C++ only after expansion. This is text replacement with a limit
on the result's length, for inspection only: the result is never compiled.
"""

from __future__ import annotations

import re

# A string that never ends reaches to the end of its line: searched again from each quote, it would take quadratic time.
# A word may have the # of `#x` before it, but not the ## of `a##b`. Letters in a number (the LL of 1LL) are not words.
_TOKEN = re.compile(
    r"(?P<skip>(?P<comment>//(?:[^\n\\]|\\.)*|/\*.*?\*/)|/\*.*|"
    r'(?:u8|[uUL])?R"(?P<mark>[^()\\\s]{0,16})\((?:.*?\)(?P=mark)"|.*)|'
    r'"(?:[^"\\\n]|\\.)*"?|(?<![0-9A-Fa-f])\'(?:[^\'\\\n]|\\.)*\'?)|'
    r"(?P<hash>(?<!#)#[ \t]*)?\b(?P<word>[A-Za-z_]\w*)",
    re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.MULTILINE | re.DOTALL)
_DEFINE = re.compile(r"[ \t]*#[ \t]*define[ \t]+([A-Za-z_]\w*)(\(([^()]*)\))?[ \t]*(.*)", re.DOTALL)
_OPENING = re.compile(r"\s*\(")
_PUNCTUATION = re.compile(r""""(?:[^"\\\n]|\\.)*"?|(?<![0-9A-Fa-f])'(?:[^'\\\n]|\\.)*'?|[()\[\]{},]""")
_MAX_GROWTH, _MAX_ROUNDS, _MAX_ARGUMENT = 4, 8, 20_000
Macros = dict[str, tuple[list[str] | None, str]]  # name -> (parameters, or None for a plain macro; body)


def expand_macros(source: str) -> str:
    """Return the program with its macros expanded and its directives removed, or unchanged if that gets too long."""
    text = _TOKEN.sub(lambda match: " " if match["comment"] else match[0], source)
    macros = _find_macros(text)
    text = _DIRECTIVE.sub("", text)
    limit = _MAX_GROWTH * len(source) + 20_000
    for _ in range(_MAX_ROUNDS):
        before, text = text, _expand_once(text, macros, limit)
        if text == before:
            break
        if len(text) > limit:
            return source
    return text


def is_cut_off(source: str) -> bool:
    """Return whether a comment or a raw string never ends. The parser would search for its end from every token."""
    for match in _TOKEN.finditer(source):
        if match["mark"] is not None:
            if not match[0].endswith(f'){match["mark"]}"'):
                return True
        elif match[0].startswith("/*") and not match["comment"]:
            return True
    return False


def words(source: str) -> set[str]:
    """Return every word of a program, including those in macros, but not those in comments and strings."""
    return {match["word"] for match in _TOKEN.finditer(source) if match["word"]}


def _find_macros(source: str) -> Macros:
    found: Macros = {}
    for directive in _DIRECTIVE.findall(source):
        if match := _DEFINE.match(directive):
            names = [name.strip() for name in match[3].split(",")] if match[2] else None
            found[match[1]] = names, re.sub(r"\\\n", " ", match[4]).strip()
    return found


def _expand_once(text: str, macros: Macros, limit: int) -> str:
    out: list[str] = []
    copied, length, skipped = 0, 0, 0
    for match in _TOKEN.finditer(text):
        if match.start() < skipped or match["word"] not in macros:
            continue
        names, body = macros[match["word"]]
        skipped, arguments = (match.end(), []) if names is None else _arguments(text, match.end())
        if arguments is None:
            continue
        piece = body if names is None else _substitute(body, names, arguments)
        out += [text[copied : match.start()], piece]
        length += match.start() - copied + max(len(piece), len(body))  # a long body takes time even if little remains
        copied = skipped
        if length > limit:
            break
    return "".join([*out, text[copied:]])


def _arguments(text: str, start: int) -> tuple[int, list[str] | None]:
    """Return (end of the call, its arguments), or (how far was searched, None) when there is no call."""
    opening = _OPENING.match(text, start)
    if not opening:
        return start, None
    depth, begin = 1, opening.end()
    found: list[str] = []
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
        if match.start() - begin > _MAX_ARGUMENT:
            return match.start(), None
    return len(text), None


def _substitute(body: str, names: list[str], arguments: list[str]) -> str:
    """Return a macro's body with the arguments of a call in place of its parameters."""
    values = dict(zip(names, arguments, strict=False))
    if names and names[-1].endswith("..."):
        rest = names[-1].removesuffix("...").strip() or "__VA_ARGS__"
        values[rest] = ", ".join(arguments[len(names) - 1 :])
        if not values[rest]:  # an empty list takes the comma along: `f(a, ##__VA_ARGS__)` is f(a)
            body = re.sub(rf",\s*##\s*{re.escape(rest)}\b", "", body)
    return re.sub(r"(?<!\s)\s*##\s*", "", _TOKEN.sub(lambda match: _substitute_token(match, values), body))


def _substitute_token(match: re.Match[str], values: dict[str, str]) -> str:
    """Return what a token of a macro's body becomes: a string for `#x`, the argument for `x`."""
    if match["word"] not in values:
        return match[0]
    return '"text"' if match["hash"] else values[match["word"]]


# Valid C++ that tree-sitter's grammar rejects -> an equivalent for the parser.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(\bnew\s[\w:\s]{1,99}(?:<[^;(){}]{0,99}>)?)\s*\*[\s*]*(?=[\[;,)])", r"\1"),  # new int*[n]: new int[n]
        # (a = b, c): (a == b, c)
        (r"(\(\s*\*?\w(?:[\w.]|->|\[[^;{}\[\]]{0,99}\]){0,99}\s*)(?:[-+*/%&|^]|<<|>>)?=(?!=)", r"\1=="),
        (r"=\s*(?=\{[^;{}]{0,199}\}\s*[,)])", "=T"),  # f(P p = {1, 2}): f(P p =T{1, 2})
        (r"((?:[=(,]|\breturn)\s*)typename\b(?=\s+[\w:]{1,99}[({])", r"\1"),  # x = typename A::B(): x = A::B()
        (r"(\bcase\b(?:[^;{}?\":]|::){1,99}?[\w')]\s?)\.\.\.", r"\1+"),  # case 1 ... 5: case 1 + 5
        (r"([?:]\s*)throw\b", r"\1"),  # a ? b : throw c: a ? b : c
    )
)


def rewrite_for_parser(source: str) -> str:
    """Return the program with syntax that the parser's grammar lacks replaced by syntax that it has."""
    for pattern, replacement in _REWRITES:
        source = pattern.sub(replacement, source)
    return source
