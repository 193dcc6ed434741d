"""Put C++ that compilers read and tree-sitter's grammar does not in words that it reads.

For looking only, as with macros: what is wrong in a program stays wrong. Lengths are bounded, so that a hostile
program costs no more than another.
"""
from __future__ import annotations

import re

_IDIOMS = tuple((re.compile(pattern), plain) for pattern, plain in (
    (r"(\bnew\s[\w:\s]{1,99}(?:<[^;(){}]{0,99}>)?)\s*\*[\s*]*(?=[\[;,)])", r"\1"),  # new int*[n]: new int[n]
    # (a = b, c): (a == b, c)
    (r"(\(\s*\*?\w(?:[\w.]|->|\[[^;{}\[\]]{0,99}\]){0,99}\s*)(?:[-+*/%&|^]|<<|>>)?=(?!=)", r"\1=="),
    (r"=\s*(?=\{[^;{}]{0,199}\}\s*[,)])", "=T"),                                    # f(P p = {1, 2}): f(P p =T{1, 2})
    (r"((?:[=(,]|\breturn)\s*)typename\b(?=\s+[\w:]{1,99}[({])", r"\1"),            # x = typename A::B(): x = A::B()
    (r"(\bcase\b(?:[^;{}?\":]|::){1,99}?[\w')]\s?)\.\.\.", r"\1+"),                 # case 1 ... 5: case 1 + 5
    (r"([?:]\s*)throw\b", r"\1"),                                                   # a ? b : throw c: a ? b : c
))


def plain(source: str) -> str:
    """The program with what the grammar lacks said in another way."""
    for pattern, replacement in _IDIOMS:
        source = pattern.sub(replacement, source)
    return source
