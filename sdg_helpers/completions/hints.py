"""Which key of the profile fits a request to a server that has refused it, guessed from the server's words."""

from __future__ import annotations

import re
from collections.abc import Sequence

_REFUSED = (
    r"unsupported|not\s+support|does(?:n't| not) support|not\s+permitted|not\s+allowed|forbidden|unknown|unrecognized|"
    r"unexpected|extra inputs|invalid|cannot both|can't both|only one|deprecated|must be|should be|no longer"
)
_INSTEAD = re.compile(
    r"\buse\s+[`'\"]?(?P<name>[a-z_]+)[`'\"]?(?:\s+\w+)?\s+instead|\bdid you mean\s+[`'\"]?(?P<meant>[a-z_]+)",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(
    r"(?:at most|less than or equal to|maximum(?: value)?(?: of| is)?|no more than|<=)\s+(?P<most>\d{3,7})"
    r"|range (?:of|is) \[\d+, ?(?P<top>\d{3,7})\]",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _]length|context[ _]window|too long|too many tokens|maximum.{0,20}tokens", re.IGNORECASE
)
_THINKING = re.compile(r"enable_thinking|chat_template_kwargs", re.IGNORECASE)
_ONLY_STREAM = re.compile(
    r"only supports? (?:the )?stream|stream(?:ing)?(?: mode)? is required|must (?:be )?stream|enable (?:the )?stream|"
    r"stream(?:ing)? (?:must|should) be (?:true|enabled|set)",
    re.IGNORECASE,
)


def is_about_length(message: str) -> bool:
    """Return whether a server refused a request because its prompt and reply are too long together."""
    return bool(_TOO_LONG.search(message))


def suggest_fit(message: str, fields: Sequence[str]) -> str:
    """Return " In the profile: …" with the key that would fit the request, or "".

    message: the server's words; fields: the names under which sampling settings were sent.
    """
    if _lowers_tokens(message):
        limit = _TOO_MANY.search(message)
        return f" Lower MAX_TOKENS to at most {limit['most'] or limit['top']}." if limit else " Lower MAX_TOKENS."
    key = _suggest(message, fields)
    return f" In the profile's server: `{key}`." if key else ""


def add_fit(detail: str, message: str, fields: Sequence[str]) -> str:
    """Return a failure's detail with the key that would fit the request, if the server's words tell it."""
    hint = suggest_fit(message, fields)
    return f"{detail.rstrip('. ')}.{hint}" if hint else detail


def _lowers_tokens(message: str) -> bool:
    return is_about_length(message) or ("token" in message.lower() and bool(_TOO_MANY.search(message)))


def _suggest(message: str, fields: Sequence[str]) -> str:
    named = [field for field in fields if re.search(rf"(?<![A-Za-z_]){re.escape(field)}(?![A-Za-z_])", message)]
    if _ONLY_STREAM.search(message):
        return "request: {stream: true}"
    if re.search(r"\bstream", message, re.IGNORECASE) and re.search(_REFUSED, message, re.IGNORECASE):
        return "request: {stream: false}"
    if named and (found := _INSTEAD.search(message)) and (instead := found["name"] or found["meant"]) not in named:
        return f"request: {{rename: {{{named[0]}: {instead}}}}}"
    if _THINKING.search(message):
        return "request: {extra_body: {chat_template_kwargs: {enable_thinking: true}}}"
    if "subscription key" in message.lower():
        return "api_key_header: api-key"
    if "api-version" in message or "api version" in message.lower():
        return "request: {query: {api-version: …}}"
    if named and re.search(_REFUSED, message, re.IGNORECASE):
        omitted = named[-1:] if len(named) == 2 and re.search(r"both|only one", message, re.IGNORECASE) else named
        if omitted == ["max_tokens"]:
            return "request: {rename: {max_tokens: max_completion_tokens}}"
        return f"request: {{omit: [{', '.join(omitted)}]}}"
    return ""
