"""The forms of a row: the same question and text, under the keys that different trainers read.

A form gets the question as text and the model's text JSON-escaped, and returns the start of a line of JSON: everything
up to the keys that all forms share. The thinking is long and the same in every form, so a form only says which part of
it goes where.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from sdg_helpers import exact_json, files
from sdg_helpers.answers.thinking import CLOSE, OPEN
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.sft.columns import schema
from sdg_helpers.solutions.rows import answer_start, skip_space, strip_leading_space

_TRAILING_SPACE = re.compile(rb"(?:(?<!\\)(?:\\n|\\r|\\t)| ){1,256}$")
_MAX_TRAILING_SPACE = 256  # bytes; a search of the whole thinking would cost more than the rest of the row
Head = Sequence[dict[str, str]]  # the messages before the question


class Text(NamedTuple):
    """A solution's text as it is exported, JSON-escaped: first the thinking, with its tags, then the answer.

    A text without closed thinking is all answer.
    """

    thinking: bytes
    answer: bytes


class Line(NamedTuple):
    """A line, or the start of one: `before`, thinking[start:end] of its text, `after`."""

    before: bytes
    start: int
    end: int
    after: bytes

    def whole(self, thinking: bytes) -> bytes:
        """Return the line as one piece."""
        return b"".join((self.before, thinking[self.start : self.end], self.after))


Writer = Callable[[Head, str, Text], Line]


class Form(NamedTuple):
    """One form. suffix: of its file's name; config: its name in the card; keys: that only this form has."""

    suffix: str
    config: str
    keys: tuple[str, ...]
    write: Writer | None  # None: needs the chat template, so the row maker writes it


def _messages(head: Head, question: str, text: Text) -> Line:
    before = b'{"messages":[%b{"role":"user","content":%b},{"role":"assistant","content":"' % (
        b"".join(exact_json.dumps(message) + b"," for message in head),
        files.dumps(question)[:-1],
    )
    return Line(before, 0, len(text.thinking), text.answer + b'"}]')


def _reasoning_content(head: Head, question: str, text: Text) -> Line:
    """Like messages, with the thinking apart. Every message has all keys, so that they have one type."""
    unclosed, answer = (b"", strip_leading_space(text.answer)) if text.thinking else split_escaped(text.answer)
    empty = [{**message, "reasoning_content": ""} for message in head]
    before = (
        b'{"messages":[%b{"role":"user","content":%b,"reasoning_content":""},'
        b'{"role":"assistant","content":"%b","reasoning_content":"%b'
    ) % (
        b"".join(exact_json.dumps(message) + b"," for message in empty),
        files.dumps(question)[:-1],
        answer,
        unclosed,
    )
    return Line(before, *_without_tags(text.thinking), b'"}]')


def _sharegpt(head: Head, question: str, text: Text) -> Line:
    turns = [{"from": message["role"], "value": message["content"]} for message in head]
    before = b'{"conversations":[%b{"from":"human","value":%b},{"from":"gpt","value":"' % (
        b"".join(exact_json.dumps(turn) + b"," for turn in turns),
        files.dumps(question)[:-1],
    )
    return Line(before, 0, len(text.thinking), text.answer + b'"}]')


FORMS = {
    "input_output": Form("", "sft", ("input", "output"), None),
    "messages": Form("-messages", "messages", ("messages",), _messages),
    "reasoning_content": Form("-reasoning", "reasoning", ("messages",), _reasoning_content),
    "sharegpt": Form("-sharegpt", "sharegpt", ("conversations",), _sharegpt),
}
# Keys that a row has in any form, that only look like keys of a solution, or by which a trainer chooses how to read
# the whole file.
RESERVED_KEYS = frozenset(
    ("input", "output", "messages", "conversations", "expected_answer", "generation", "prompt", "completion", "text")
    + ("chosen", "rejected", "system", "tools", "images", "input_ids", "labels", "chat_template_kwargs")
)


def split_escaped(text: bytes) -> tuple[bytes, bytes]:
    """Split an escaped text into (thinking, answer) without their tags and surrounding white space."""
    start = answer_start(text)
    opened = text.removeprefix(OPEN.encode())
    if start < 0:
        return (b"", text) if opened is text else (strip_leading_space(opened), b"")
    first, end = _without_tags(text[:start])
    return text[first:end], strip_leading_space(text[start:])


def _without_tags(thinking: bytes) -> tuple[int, int]:
    """Return where the thinking begins and ends between its tags, without surrounding white space."""
    if not thinking:
        return 0, 0
    end = len(thinking) - len(CLOSE)
    first = skip_space(thinking, len(OPEN) if thinking.startswith(OPEN.encode()) else 0)
    space = _TRAILING_SPACE.search(thinking, max(first, end - _MAX_TRAILING_SPACE), end)
    return first, space.start() if space else end


def check_form(form: str) -> None:
    """Raise SdgError for an unknown form."""
    if form not in FORMS:
        raise SdgError(f"form {form!r} is not one of {', '.join(FORMS)}.{did_you_mean(form, FORMS)}")


def check_extra_keys(keys: Sequence[str]) -> None:
    """Raise SdgError for a key that rows have anyway, that a trainer gives a meaning, or that is given twice."""
    for key in keys:
        if key in RESERVED_KEYS:
            raise SdgError(
                f"extra key {key!r}: this name is reserved, because rows have it already or a trainer would read it "
                "in place of the row's text. Remove it from EXTRA_KEYS, or rename the key in your problems."
            )
        if list(keys).count(key) > 1:
            raise SdgError(f"extra key {key!r} is given twice. Remove one of them from EXTRA_KEYS.")


def schema_of(form: str, extra: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the schema of a form's file. extra: the types of the extra keys, in order."""
    texts = {key: _TYPES.get(key, pa.string()) for key in FORMS[form].keys}
    if form == "reasoning_content":
        texts = {"messages": _turns("role", "content", "reasoning_content")}
    return schema({**texts, "expected_answer": pa.string(), **extra})


def _turns(*keys: str) -> pa.DataType:
    return pa.list_(pa.struct([(key, pa.string()) for key in keys]))


_TYPES = {"messages": _turns("role", "content"), "conversations": _turns("from", "value")}


def file_name(track: str, form: str) -> str:
    """Return the name of a form's file."""
    return f"sft-data-{track}{FORMS[form].suffix}.jsonl"
