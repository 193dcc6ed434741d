"""Read the verdict in a judge's reply: the word after its last `Judgement:`."""

from __future__ import annotations

import re

from sdg_helpers.answers.extraction import split_thinking

_MARK = re.compile(r"judge?ment\W{0,4}:", re.IGNORECASE)
_WORD = re.compile(
    r"[\s*_`\"'$\[({]{0,20}(?:\\(?:boxed|text|textbf)\{){0,2}(yes|no)(?![a-z])(?!\W{0,5}(?:or\b|/))", re.IGNORECASE
)
_TAIL = 60  # characters after the mark that are looked at


def read_judgement(reply: str) -> bool | None:
    """Return True for yes, False for no, None when the reply is unreadable.

    `**Judgement:** Yes` and `judgment: yes.` are yes; "Yesterday" and "Yes or No" are unreadable. The last mark
    counts; the thinking is ignored.
    """
    _, said = split_thinking(reply)
    end = -1
    for match in _MARK.finditer(said):
        end = match.end()
    word = _WORD.match(said[end : end + _TAIL]) if end >= 0 else None
    return word[1].lower() == "yes" if word else None
