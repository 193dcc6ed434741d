"""Read an answer once: its spelling, its value, and what is written around the value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from sdg_helpers.answers.expressions import Reading, read_expression
from sdg_helpers.answers.plain_numbers import PlainNumber, plain_number
from sdg_helpers.answers.spelling import tidy
from sdg_helpers.answers.units import Unit, split_unit
from sdg_helpers.answers.values import Key, constant_key
from sdg_helpers.answers.words import word_key

_LABEL = re.compile(r"(?:\(([A-J])\)|([A-J])[.:)])(?![A-J]\b)((?:(?!(?<![A-Za-z])[A-J]\s?[.:)]).)+)", re.DOTALL)
_DECIMAL_COMMA = re.compile(r"[^,;()\[\]{}]*\d,\d[^,;()\[\]{}]*")


@dataclass(frozen=True)
class Answer:
    """An answer as it is compared.

    text: the tidied spelling; value: the same without unit and name. words: the key of an answer in words. number: a
    plain number without its unit or name. key: of the value. name: the variable that the answer names (`x=5`). unit: as
    it is compared, "" without one. label, labelled: the letter of an option and the text after it (`B: a hexagon`).
    """

    text: str
    words: str | None = None
    number: PlainNumber | None = None
    key: Key | None = None
    name: str = ""
    value: str = ""
    unit: str = ""
    unit_kind: Unit | None = None
    label: str = ""
    labelled: str = ""
    may_be_decimal: bool = False  # `1,2` may be a list or 1.2

    @property
    def addition(self) -> str:
        """What is written around the value."""
        return f"unit {self.unit}" if self.unit else f"name {self.name}" if self.name else ""

    @property
    def vote(self) -> str:
        """One text for all spellings of the answer. With an addition it differs from the bare answer's."""
        if self.words is not None:
            return self.words
        if self.key is None:
            return self.text
        value = self.key.ordered if self.may_be_decimal else self.key.free
        value = value.removeprefix("=")
        return f"{value} [{self.addition}]" if self.addition else value


@lru_cache(maxsize=1 << 12)
def read_answer(answer: str) -> Answer:
    """Read an answer. Never raises; an answer that cannot be read has no key."""
    text = tidy(answer)
    number = plain_number(text)
    if number is not None:
        return _of_number(text, number)
    words = word_key(text)
    if words is not None:
        return Answer(text, words=words)
    with_unit = split_unit(answer, text)
    if with_unit:
        value, unit, kind = with_unit
        number = plain_number(value)
        reading = None if number else read_expression(value)
        key = constant_key(number.value) if number else reading.key if reading else None
        if key is not None and (reading is None or not reading.name):
            return Answer(text, number=number, key=key, unit=unit, unit_kind=kind, value=value)
    label = _LABEL.fullmatch(text)
    if label:
        return Answer(text, label=label[1] or label[2], labelled=label[3].strip())
    return _of_expression(text, read_expression(text))


def _of_number(text: str, number: PlainNumber) -> Answer:
    return Answer(text, number=number, value=text, key=constant_key(number.value))


def _of_expression(text: str, reading: Reading | None) -> Answer:
    if reading is None:
        return Answer(text)
    may_be_decimal = bool(_DECIMAL_COMMA.fullmatch(text))
    value = text.partition("=")[2] if reading.name else text
    number = plain_number(value) if reading.name else None
    return Answer(text, number=number, value=value, key=reading.bare, name=reading.name, may_be_decimal=may_be_decimal)
