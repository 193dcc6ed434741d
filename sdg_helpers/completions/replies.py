"""Read a server's reply: a completion, or the kind of failure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from sdg_helpers.completions.types import Completion
from sdg_helpers.files import replace_lone_surrogates

# Kinds of failed attempts, by what to do about them.
BUSY = "busy"  # 429, 503: the server is full; send fewer at a time, and retry this one later
RETRY = "retry"  # may succeed next time; counts as an attempt
REJECTED = "rejected"  # this request will never succeed
FATAL = "fatal"  # no request will: wrong key, wrong model, wrong address
UNREACHABLE = "unreachable"  # there is no server at the moment

_FINISH_REASON = re.compile(r"[A-Za-z_]{1,64}")  # safe in rows, whose ends are read without a JSON parser
_MAX_TOKENS = 1 << 31


@dataclass(slots=True, frozen=True)
class FailedAttempt:
    """An attempt without a completion. kind: one of this module's constants; reason: a short code for counting."""

    kind: str
    reason: str
    detail: str
    retry_after_s: float | None = None


def read_reply(data: bytes, seconds: float) -> Completion | FailedAttempt:
    """Read the body of a 200 reply. A malformed body of any kind gives a FailedAttempt, never an exception."""
    try:
        reply = _loads(data)
    except (ValueError, RecursionError) as error:
        return FailedAttempt(RETRY, "bad_json", f"{error}; the reply begins {data[:80]!r} and has {len(data)} bytes")
    try:
        choices = reply.get("choices")
        if not choices:
            kind = "error_in_reply" if reply.get("error") else "empty_choices"
            return FailedAttempt(RETRY, kind, f"no choices in the reply: {error_message(data)}")
        message, finish = choices[0]["message"], choices[0].get("finish_reason")
        content, usage = _text(message.get("content")), reply.get("usage") or {}
        reasoning = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
        tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        return FailedAttempt(
            RETRY, "bad_reply", f"not a chat completion ({type(error).__name__}: {error}): {data[:200]!r}"
        )
    if finish in ("abort", "error"):
        return FailedAttempt(RETRY, "aborted", f"the server aborted the request (finish_reason {finish!r})")
    plain = isinstance(finish, str) and _FINISH_REASON.fullmatch(finish)
    return Completion(content, reasoning, finish if plain else "unknown", *tokens, seconds)


def _loads(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # do not lose an hour's reply to invalid UTF-8 or a lone surrogate
        return replace_lone_surrogates(json.loads(data.decode("utf-8", "replace")))


def _count(value: Any) -> int:
    """Return a token count; 0 for an impossible one."""
    count = int(value or 0)
    return count if 0 <= count < _MAX_TOKENS else 0


def _text(value: Any) -> str:
    """Return message text as a string: "" for None, joined for a list of content parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value)
    if value is None:
        return ""
    raise TypeError(f"text expected, found {type(value).__name__}")


def error_message(data: bytes) -> str:
    """Return the message in an error body, in any of the usual shapes."""
    try:
        body = _loads(data[:100_000])
        error = body.get("error") or body
        said = error if isinstance(error, str) else error.get("message") or error.get("detail")
        if said:
            return str(said)
    except (ValueError, AttributeError, RecursionError):
        pass
    return data[:300].decode("utf-8", "replace") or "no explanation"
