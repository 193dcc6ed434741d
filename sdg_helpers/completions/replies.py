"""Read a server's reply: a completion, or the kind of failure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import orjson

from sdg_helpers.answers.finish_reasons import ended_by_itself
from sdg_helpers.answers.thinking import Shape, read_thinking, split_thinking, thinking_form
from sdg_helpers.completions.failed_attempts import REJECTED, RETRY, UNUSABLE, FailedAttempt
from sdg_helpers.completions.types import Completion
from sdg_helpers.exact_json import replace_lone_surrogates

_FINISH_REASON = re.compile(r"[A-Za-z_]{1,64}")  # safe in rows, whose ends are read without a JSON parser
_ABORTED = frozenset({"abort", "aborted", "error", "failed", "network_error", "insufficient_system_resource"})
_FILTERED = frozenset({"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "refusal"})
_MAX_TOKENS = 1 << 31
_THINKING_KEYS = ("reasoning_content", "reasoning", "thinking")


@dataclass(slots=True)
class Reply:
    """What a server has written so far, in one piece or in many. finish: its finish reason, None without one.

    refusal: what the model said instead of an answer.
    """

    content: str
    reasoning: str
    finish: Any
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refusal: str = ""


def read_reply(data: bytes, seconds: float) -> Completion | FailedAttempt:
    """Read the body of a 200 reply. A malformed body of any kind gives a FailedAttempt, never an exception."""
    try:
        body = load_json(data)
    except (ValueError, RecursionError) as error:
        start = data[:80].lstrip().lower()
        if start.startswith((b"<!doctype", b"<html")):
            return FailedAttempt(
                RETRY, "web_page", f"a web page instead of a completion: {data[:200]!r}. Check base_url and the proxy"
            )
        return FailedAttempt(RETRY, "bad_json", f"{error}; the reply begins {data[:80]!r} and has {len(data)} bytes")
    return read_body(body, seconds, data)


def read_body(body: Any, seconds: float, data: bytes) -> Completion | FailedAttempt:
    """Read a parsed chat completion, as `read_reply` does. data: what is quoted of a malformed one."""
    try:
        if (failure := reported_error(body)) is not None:
            return failure
        message, usage = body["choices"][0]["message"], body.get("usage")
        finish = body["choices"][0].get("finish_reason")
        reply = Reply(*read_message(message), finish, *read_usage(usage), read_refusal(message))
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        return malformed(error, data)
    return conclude(reply, seconds)


def malformed(error: Exception, data: bytes) -> FailedAttempt:
    """Return the failure for JSON that is no chat completion."""
    return FailedAttempt(RETRY, "bad_reply", f"not a chat completion ({type(error).__name__}: {error}): {data[:200]!r}")


def reported_error(body: Any) -> FailedAttempt | None:
    """Return the error that a body reports with status 200, at its top or in its first choice, or None."""
    choices = body.get("choices")
    error = body.get("error") or (choices[0].get("error") if choices else None)
    if error:
        return FailedAttempt(RETRY, "error_in_reply", f"an error in a 200 reply: {error_text(body, error) or error}")
    if not choices:
        return FailedAttempt(RETRY, "empty_choices", f"no choices in the reply: {error_text(body) or body}"[:500])
    return None


def conclude(reply: Reply, seconds: float) -> Completion | FailedAttempt:
    """Return the completion that a whole reply holds, or why it is none: aborted, empty, or without an answer.

    Thinking that a model left open in its text is a completion: the model would do the same again, and later stages
    find no answer in it. A server that sends thinking alone, in a separate field, may have lost the text.
    """
    finish = reply.finish
    plain = finish if isinstance(finish, str) and _FINISH_REASON.fullmatch(finish) else "unknown"
    text, shape = read_thinking(reply.content, reply.reasoning)
    if (failure := _find_flaw(plain, reply, text, shape)) is not None:
        return replace(failure, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens)
    form = thinking_form(reply.content, reply.reasoning, shape)
    return Completion(text, form, plain, reply.prompt_tokens, reply.completion_tokens, seconds)


def _find_flaw(plain: str, reply: Reply, text: str, shape: Shape) -> FailedAttempt | None:
    """Return why a reply is no completion; None if it is one. plain: its finish reason; text: normalised."""
    finish = reply.finish
    if plain.lower() in _ABORTED:
        return FailedAttempt(RETRY, "aborted", f"the server aborted the request (finish_reason {finish!r})")
    if not text or text.isspace():
        return _explain_empty(plain, reply)
    if shape == "unclear":
        return FailedAttempt(
            UNUSABLE,
            "unclear_thinking",
            f"more than one thinking part, or text around it, so that it cannot be told where the answer begins: "
            f"{text[:100]!r} … {text[-100:]!r}",
        )
    if (
        (not reply.content or reply.content.isspace())
        and ended_by_itself(plain)
        and not split_thinking(text)[1].strip()
    ):
        return FailedAttempt(
            UNUSABLE, "no_answer", f"thinking without an answer (finish_reason {finish!r}), ending {text[-100:]!r}"
        )
    return None


def _explain_empty(finish: str, reply: Reply) -> FailedAttempt:
    said = f"no text (finish_reason {finish!r}, {reply.completion_tokens} tokens)"
    if reply.refusal:
        return FailedAttempt(REJECTED, "refused", f"the model refused to answer: {reply.refusal[:200]!r}")
    if finish.lower() in _FILTERED:
        return FailedAttempt(REJECTED, "content_filter", f"the server's filter removed the reply: {said}")
    if ended_by_itself(finish) is False:  # hidden thinking used all the tokens; it would again
        return FailedAttempt(REJECTED, "empty", f"{said}; raise MAX_TOKENS")
    return FailedAttempt(UNUSABLE, "empty", said)


def read_message(message: Any) -> tuple[str, str]:
    """Return (text, thinking) of a message or a streamed part of one. Raises TypeError for other values than text."""
    thinking: list[str] = []
    content = _text(message.get("content"), thinking)
    reasoning = next((text for key in _THINKING_KEYS if (text := _text(message.get(key), thinking))), "")
    if not reasoning and not thinking and isinstance(details := message.get("reasoning_details"), list):
        _text(details, thinking)
    return content, reasoning or "".join(thinking)


def read_refusal(message: Any) -> str:
    """Return what the model says in place of an answer, "" if it does not refuse."""
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) else ""


def read_usage(usage: Any) -> tuple[int, int]:
    """Return the prompt's and the reply's tokens; 0 for a count that is missing or impossible."""
    usage = usage or {}
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _text(value: Any, thinking: list[str]) -> str:
    """Return text: "" for None, joined for a list of parts. The text of thinking parts goes to `thinking`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_part_text(part, thinking) for part in value)
    if value is None:
        return ""
    raise TypeError(f"text expected, found {type(value).__name__}")


def _part_text(part: Any, thinking: list[str]) -> str:
    if isinstance(part, str):
        return part
    kind = str(part.get("type", "text"))
    if not kind.startswith(("thinking", "reasoning", "thought")):
        return _text(part.get("text"), thinking)
    for key in ("thinking", "reasoning", "text", "summary", "content"):
        if text := _text(part.get(key), thinking):
            thinking.append(text)
            break
    return ""


def _count(value: Any) -> int:
    """Return a token count; 0 for an impossible one."""
    count = int(value or 0)
    return count if 0 <= count < _MAX_TOKENS else 0


def load_json(data: bytes) -> Any:
    """Parse JSON. Invalid UTF-8 and lone surrogates are replaced: they must not cost an hour's reply.

    Raises ValueError for anything but JSON. Numbers may be rounded: a reply's are only counts of tokens.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return replace_lone_surrogates(json.loads(data.decode("utf-8-sig", "replace")))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def error_text(body: Any, error: Any = None) -> str:
    """Return the message in an error body, in any of the usual shapes; "" without one.

    error: the body's error, where it is not at the top.
    """
    if isinstance(body, list):  # Google
        body = body[0] if body else {}
    if not isinstance(body, dict):
        return ""
    error = error or body.get("error") or body
    if isinstance(error, str):
        return error
    said = error.get("message") or error.get("detail") or error.get("msg") or ""
    if isinstance(said, list):  # FastAPI: where and what
        said = "; ".join(
            f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg')}" if isinstance(one, dict) else str(one)
            for one in said
        )
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None  # OpenRouter: the words of the provider behind it
    return f"{said} ({raw})" if raw else str(said)
