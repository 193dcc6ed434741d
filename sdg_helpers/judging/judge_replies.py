"""Read the verdict in a judge's reply: the word after its last `Judgement:`."""

from __future__ import annotations

import re

from sdg_helpers.answers.thinking import split_thinking

_MARK = re.compile(r"judge?ment(?:\s{1,3}is)?[\s*_`]{0,6}[:：]", re.IGNORECASE)
_QUOTE = "\"'“‘«「„"
_CLOSING_QUOTE = "\"'”’»」“"
_BEFORE = re.compile(
    rf"(?P<quote>[{_QUOTE}])?[\s*_#>`$~\\{{\[(-]{{0,20}}"
    r"(?:(?:my|the|final|overall|so|thus|therefore|hence|in conclusion)[\s,*_]{1,4}){0,3}",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?;。！？]\)?[\s*_]{1,4}$")
_WORD = re.compile(r"[\s*_`\"'$\[({]{0,20}(?:\\(?:boxed|text|textbf|mathbf)\{){0,3}(yes|no)(?![^\W_])", re.IGNORECASE)
_HEDGE = re.compile(
    r"[-–—'’]?[^\W_]|[\s*_`\"'.,;:!}\])]{0,8}(?:/|\\|\||(?:or|and|but|yes|no|to some|maybe|partly)\b)", re.IGNORECASE
)
_LEAD, _TAIL = 60, 120  # characters before and after the mark that are looked at


def read_judgement(reply: str) -> bool | None:
    """Return True for yes, False for no, None when the reply is unreadable.

    `**Judgement:** Yes` and `judgment: yes.` are yes; "Yesterday", "Yes-ish" and "Yes and no" are unreadable. The last
    mark counts. A mark inside the thinking, in quotation marks or in the middle of a sentence does not.
    """
    _, text = split_thinking(reply)
    last = None
    for mark in _MARK.finditer(text):
        if _states_verdict(text, mark):
            last = mark
    if last is None:
        return None
    after = text[last.end() : last.end() + _TAIL]
    word = _WORD.match(after)
    if word is None or _HEDGE.match(after, word.end()):
        return None
    return word[1].lower() == "yes"


def _states_verdict(text: str, mark: re.Match[str]) -> bool:
    """Return whether a mark begins a line or a sentence and is no quotation."""
    before = text[max(0, mark.start() - _LEAD) : mark.start()].rpartition("\n")
    lead = before[2]
    start = _BEFORE.fullmatch(lead)
    if start is None:
        return bool(_SENTENCE_END.search(lead))
    if start["quote"]:  # a line that is wholly in quotation marks is the verdict, a quotation in a sentence is not
        line = text[mark.end() : mark.end() + _TAIL].partition("\n")[0].strip()
        return line[-1:] in _CLOSING_QUOTE and not re.search(rf"[{_CLOSING_QUOTE}]", line[:-1]) if line else False
    return bool(before[1]) or mark.start() <= _LEAD or bool(_SENTENCE_END.search(lead))
