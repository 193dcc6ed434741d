"""Recognise a text that says that there is no answer."""

from __future__ import annotations

import re
from typing import Any

_FILLERS = frozenset("-–—−?.…_ ")
_NO_ANSWER = re.compile(
    r"n\W?/\W?a|n\.a\.?|nan|null|nil|tbd|to be determined|unknown|(?:answer )?not (?:available|given|provided"
    r"|applicable|found|known)|no (?:final )?answer(?: (?:given|found|provided|available))?|missing"
    r"|answer (?:missing|unknown)|\[\]|<na>|#n/a",
    re.IGNORECASE,
)
_WRAPPER = re.compile(r"\\(?:text|mathrm|textbf|textit|mbox)\s*\{([^{}]*)\}|[$*`\"']")


def is_no_answer(answer: Any) -> bool:
    """Return whether a reference or a predicted answer says nothing: None, NaN, empty, `n/a`, `-`, `null`, `unknown`.

    `none`, `no solution` and `undefined` are answers.
    """
    if answer is None or answer != answer:  # NaN is the only value that differs from itself
        return True
    text = str(answer).strip()
    if len(text) > 60 or text.isdecimal():
        return False
    text = _WRAPPER.sub(lambda match: match[1] or "", text).strip()
    return _FILLERS.issuperset(text) or bool(_NO_ANSWER.fullmatch(text.rstrip(".!")))


def clean_reference(answer: Any) -> str:
    """Return a reference answer as stripped text, "" if it is no answer."""
    return "" if is_no_answer(answer) else str(answer).strip()
