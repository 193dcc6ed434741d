"""Find the option that an answer names: `A`, `a.`, `(A)`, `\\text{A}`, `Option A` and the option's text are equal."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from sdg_helpers.answers.equality import canonical
from sdg_helpers.answers.spelling import tidy

LETTERS = string.ascii_uppercase
_MAX_LENGTH = 2000  # characters; a longer answer names no option
_WRAPPER = re.compile(
    r"\\(?:boxed|text(?:bf|it|rm|sf|normal)?|math(?:rm|bf|bb|it|sf)|operatorname|mbox|bf|rm)"
    r"(?![A-Za-z])\s*"
)
_NAMED = re.compile(
    r"(?:the\s+)?(?:(?:correct|right|final|best)\s+)?(?:answer|option|choice)\s*(?:is|=|:)?\s*"
    r"(?:(?:option|choice)\s*:?\s*)?",
    re.IGNORECASE,
)
_NAMED_ABROAD = re.compile(
    r"[^\W\d_]{2,15}\s*[:：]\s*(?=[A-Z]$)|(?:(?![a-zA-Z])[^\W\d_])+\s*[:：]?\s*(?=[A-Z](?![a-z]))"
)
_LETTER_APART = re.compile(r"([A-Z])[\s,，、]+(.+)", re.DOTALL)
_LETTER = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?")
_WORDS = re.compile(r"[A-Za-z ,;.'()-]+")
_LETTER_AND_TEXT = re.compile(r"\(?\s*([A-Z])\s*[).:\]]\s*(.+)|([A-Z])\s+[-–—=]\s*(.+)", re.DOTALL)


def option_letter(answer: str, options: Sequence[str]) -> str | None:
    """Return the letter of the one option that an answer names; None if it names none, or more than one.

    A letter comes first: where the options are blood types, `B` is option B; but a small letter that is another
    option's text is that text. A letter with the text of another option names none. The text of an option names it,
    too, in any spelling (`0.5` for `1/2`).
    """
    if len(answer) > _MAX_LENGTH:
        return None
    text = _unwrapped(answer)
    letters = LETTERS[: len(options)]
    for said in dict.fromkeys((text, _NAMED.sub("", text, count=1), _NAMED_ABROAD.sub("", text, count=1))):
        alone = _LETTER.fullmatch(said)
        letter = alone[1].upper() if alone else ""
        is_text = len(said) == 1 and said.islower() and _by_text(said, options, letters) not in (None, letter)
        if alone and letter in letters and not is_text:
            return letter
        both = _LETTER_AND_TEXT.fullmatch(said)
        if both and (both[1] or both[3]) in letters:
            letter, rest = both[1] or both[3], both[2] or both[4]
            named = _by_text(rest, options, letters)
            return letter if named == letter or (named is None and not _names_more(rest, letters)) else None
        apart = _LETTER_APART.fullmatch(said)
        if apart and _by_text(apart[2], options, letters) == apart[1]:
            return apart[1]
    return _by_text(answer, options, letters) or _by_text(text, options, letters)


def normalise_vote(answer: str | None, options: Sequence[str] | None) -> str | None:
    """Return an answer as it votes: a letter if there are options, otherwise the answer itself. None does not vote."""
    if not answer or not answer.strip():
        return None
    return option_letter(answer, options) if options else answer.strip()


def _unwrapped(answer: str) -> str:
    """Return the answer without dollar signs, text commands, braces around it and a full stop at its end."""
    text = _WRAPPER.sub("", answer).replace("$", "").replace(r"\(", "(").replace(r"\)", ")").replace("**", "").strip()
    for _ in range(4):
        before = text
        if text.startswith("{") and text.endswith("}"):
            text = text[1:-1]
        text = re.sub(r"^\{\s*(\(?[A-Za-z]\)?)\s*\}", r"\1", text)
        text = text.strip().rstrip(".,;:").rstrip()
        if text == before:
            break
    return text


def _by_text(text: str, options: Sequence[str], letters: str) -> str | None:
    """Return the letter of the one option with this text, or None."""
    wanted = text_key(text).replace(" ", "")
    found = [
        letter for letter, option in zip(letters, options, strict=False) if text_key(option).replace(" ", "") == wanted
    ]
    return found[0] if wanted and len(found) == 1 else None


def text_key(text: str) -> str:
    """Return one text for options that mean the same. Case counts in `5 MPa` and `AaBb`, not in `Oxygen`."""
    key = canonical(tidy(text).strip().rstrip("."))
    return re.sub(r"\b[A-Z][a-z]{2,}\b", lambda word: word[0].lower(), key) if _WORDS.fullmatch(key) else key


def _names_more(text: str, letters: str) -> bool:
    """Return whether the text after a letter is another letter: `A, B` and `A) or C` name two options."""
    words = re.findall(r"[A-Za-z]+", text)
    return bool(words) and all(word in letters or word.lower() in ("and", "or") for word in words)
