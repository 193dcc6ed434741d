"""Keep answers from steering the judge: an answer is data, whatever it says."""

from __future__ import annotations

import re
import unicodedata

_MAX_LOOKED_AT = 4000  # characters
_PROSE_WORDS = 10  # more words than the expected answer has make a text, not an answer
_FOREIGN_LETTERS = 25  # the same for scripts without spaces
_CHAT_TOKENS = re.compile(
    r"<\|[^|<>]{0,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|</?(?:system|assistant|user|answer|think)[^<>]{0,20}>"
)
_TO_THE_JUDGE = re.compile(
    r"judge?ments?\b|\bjudge[sd]?\b|\bverdict|\bgrad(?:er|ing)\b|"
    r"\b(?:system|assistant|user|human|instructions?|prompt)\s*:|^\s*#{2,}|<\|[^|<>]{0,40}\||\[/?INST\]|<</?SYS>>|"
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,60}\b(?:instruct|previous|above|prior|prompt|rule|expected|that)|"
    r"\b(?:expected|predicted|reference|correct|right|true|gold)\s+(?:answer|solution|value|result)s?\b|"
    r"\b(?:answers?|respond|reply|say|output|write|print|return|mark|conclude|count|accept|treat|consider|rate)\b"
    r".{0,40}\b(?:yes|correct|true|equal|equivalent|right|same|match|matching|identical|valid)\b|"
    r"\b(?:is|are|be|as|both)\s+(?:\w+\s+){0,2}(?:correct|equivalent|identical|matching|the same|accepted)\b|"
    r"\byou\s+(?:must|should|are|will|have to|need to|can)\b|\bas an? (?:ai|language model|expert)\b",
    re.IGNORECASE | re.DOTALL,
)
_COMMAND = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z])[A-Za-z]+\(")
_WORD = re.compile(r"[A-Za-z]{2,}")


def steers_judge(predicted: str, expected: str) -> bool:
    """Return whether an answer talks to the judge, or is a sentence where the expected answer is not.

    Such an answer is not sent to the model: its verdict would be the answer's own.
    """
    text = _plain(predicted[:_MAX_LOOKED_AT])
    if _TO_THE_JUDGE.search(text) and not _TO_THE_JUDGE.search(_plain(expected[:_MAX_LOOKED_AT])):
        return True
    words, foreign = _prose(text)
    expected_words, expected_foreign = _prose(_plain(expected[:_MAX_LOOKED_AT]))
    return words > expected_words + _PROSE_WORDS or foreign > expected_foreign + _FOREIGN_LETTERS


def as_data(answer: str) -> str:
    """Return an answer as one line without control characters and chat tokens, as the judge sees it."""
    text = "".join(letter if letter.isprintable() else " " for letter in unicodedata.normalize("NFC", answer))
    return " ".join(_CHAT_TOKENS.sub(" ", text).split())


def _plain(text: str) -> str:
    """Return the words of a text: compatible letters unified, invisible ones and text commands removed."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    text = re.sub(r"\\(?:text(?:bf|it|rm|tt|sf)?|math(?:rm|bf|tt|sf)|mbox)\s*\{", " ", text)
    text = re.sub(r"\\[ ,;:!]|~|\\quad|[{}$*_`\"]", " ", text)
    return re.sub(r"[^\S\n]+", " ", text)


def _prose(text: str) -> tuple[int, int]:
    """Return the number of words in Latin letters and of letters in other scripts."""
    text = _COMMAND.sub(" ", text)
    foreign = sum(letter.isalpha() and ord(letter) > 0x2FF and not 0x370 <= ord(letter) <= 0x3FF for letter in text)
    return len(_WORD.findall(text)), foreign
