"""Reading what a server sent: a completion, or what kind of trouble it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from sdg_helpers.completions.types import Completion
from sdg_helpers.files import replace_lone_surrogates

# What to do about a trouble.
BUSY = "busy"  # 429, 503: the server has no room; fewer at a time, and this one again later
AGAIN = "again"  # may go better next time; counts as an attempt
HOPELESS = "hopeless"  # this request will never be answered
STOP = "stop"  # no request will: wrong key, wrong model, wrong address
UNREACHABLE = "unreachable"  # no server there at the moment

_FINISH_REASON = re.compile(r"[A-Za-z_]{1,64}")  # it is written into rows, whose ends are read without a JSON parser
_ABSURD_TOKENS = 1 << 31


@dataclass(slots=True, frozen=True)
class Trouble:
    """Why an attempt gave no completion. kind: one of this module's constants; reason: a short code for counting."""

    kind: str
    reason: str
    detail: str
    retry_after_s: float | None = None


def read_reply(data: bytes, seconds: float) -> Completion | Trouble:
    """What a 200 reply's body says; every way in which it can be malformed is a Trouble, never an exception."""
    try:
        reply = _loads(data)
    except (ValueError, RecursionError) as error:
        return Trouble(AGAIN, "bad_json", f"{error}; the reply begins {data[:80]!r} and has {len(data)} bytes")
    try:
        choices = reply.get("choices")
        if not choices:
            kind = "error_in_reply" if reply.get("error") else "empty_choices"
            return Trouble(AGAIN, kind, f"no choices in the reply: {error_message(data)}")
        message, finish = choices[0]["message"], choices[0].get("finish_reason")
        content, usage = _text(message.get("content")), reply.get("usage") or {}
        reasoning = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
        tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        return Trouble(AGAIN, "bad_reply", f"not a chat completion ({type(error).__name__}: {error}): {data[:200]!r}")
    if finish in ("abort", "error"):
        return Trouble(AGAIN, "aborted", f"the server gave the request up (finish_reason {finish!r})")
    plain = isinstance(finish, str) and _FINISH_REASON.fullmatch(finish)
    return Completion(content, reasoning, finish if plain else "unknown", *tokens, seconds)


def _loads(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # invalid UTF-8 or a lone surrogate is no reason to lose an hour's reply
        return replace_lone_surrogates(json.loads(data.decode("utf-8", "replace")))


def _count(value: Any) -> int:
    """A number of tokens; one that no reply can have is as good as none."""
    count = int(value or 0)
    return count if 0 <= count < _ABSURD_TOKENS else 0


def _text(value: Any) -> str:
    """Message text as a string: None is "", a list of content parts is joined."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value)
    if value is None:
        return ""
    raise TypeError(f"text expected, found {type(value).__name__}")


def error_message(data: bytes) -> str:
    """What an error body says, in whichever of the usual shapes."""
    try:
        body = _loads(data[:100_000])
        error = body.get("error") or body
        said = error if isinstance(error, str) else error.get("message") or error.get("detail")
        if said:
            return str(said)
    except (ValueError, AttributeError, RecursionError):
        pass
    return data[:300].decode("utf-8", "replace") or "no explanation"
