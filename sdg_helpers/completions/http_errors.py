"""Classify a reply that reports an error, by its status or by the code in its body."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from sdg_helpers.completions.failed_attempts import BUSY, FATAL, REJECTED, RETRY, FailedAttempt
from sdg_helpers.completions.pacing import retry_after_s
from sdg_helpers.completions.replies import error_text, load_json

_PAGE_TITLE = re.compile(rb"<title[^<>]{0,200}>([^<]{1,1000})<", re.IGNORECASE)
_DURATION = re.compile(r"(?<![\d.])(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NO_CREDIT = (b'"insufficient_quota"', b"insufficient balance", b"Insufficient Balance", b"credit balance is too low")
_BUSY = (429, 503, 529)
KEY_HINT = "the API key of this server, its rights and its credit"


def classify_status(status: int, headers: Mapping[str, str], data: bytes, message: str) -> FailedAttempt:
    """Return what a reply with a status other than 200 means; message: its text, without keys.

    A 404 is the caller's to explain.
    """
    reason, detail = f"http_{status}", f"HTTP {status}: {message}"
    if status in (401, 402) or any(sign in data for sign in _NO_CREDIT):
        return FailedAttempt(FATAL, reason, f"denies access ({detail}). Check {KEY_HINT}.")
    if status == 403:  # a moderated input, or a key without permission: many in a row mean the key
        return FailedAttempt(REJECTED, reason, f"{detail} (if every request fails like this, check {KEY_HINT})")
    if 300 <= status < 400:
        return FailedAttempt(
            FATAL, reason, f"has moved (HTTP {status} to {headers.get('Location')!r}). Set base_url to the new address."
        )
    if status in _BUSY:
        return FailedAttempt(BUSY, reason, detail, requested_wait_s(headers, data))
    if status >= 500 or status in (408, 409, 425) or status < 400:
        return FailedAttempt(RETRY, reason, detail, requested_wait_s(headers, data))
    return FailedAttempt(REJECTED, reason, detail)


def requested_wait_s(headers: Mapping[str, str], data: bytes = b"") -> float | None:
    """Return the seconds that a server asks to wait, from its headers or a RetryInfo in its body; None if it does not.

    Read: Retry-After, retry-after-ms, x-ratelimit-reset-requests and -tokens ("500ms", "1m2s"), X-RateLimit-Reset (a
    time since 1970 in seconds or milliseconds, or seconds), Google's retryDelay.
    """
    if (value := retry_after_s(headers.get("Retry-After"))) is not None:
        return value
    if (value := retry_after_s(headers.get("retry-after-ms"))) is not None:
        return value / 1000
    resets = [
        seconds
        for kind in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0"
        and (seconds := _duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))) is not None
    ]
    if resets:
        return max(resets)
    if headers.get("X-RateLimit-Remaining", "0") == "0" and (reset := headers.get("X-RateLimit-Reset")):
        return _time_until(reset)
    delay = re.search(rb'"retryDelay"\s*:\s*"([0-9.]+m?s)"', data[:100_000])
    return _duration_s(delay[1].decode()) if delay else None


def _duration_s(text: str) -> float | None:
    """Return the seconds of "500ms", "1m2.5s" or "3"; None for anything else."""
    if parts := _DURATION.findall(text):
        return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return retry_after_s(text) if text else None


def _time_until(text: str) -> float | None:
    """Return the seconds until a time since 1970 (in seconds or milliseconds); a small number is seconds already."""
    try:
        value = float(text)
    except ValueError:
        return None
    if not 0 <= value < 1e14:  # NaN, too
        return None
    value = value / 1000 if value > 1e11 else value
    return max(0.0, value - time.time()) if value > 1e8 else value


def error_message(data: bytes) -> str:
    """Return the message in an error body: of JSON in any of the usual shapes, or of a web page."""
    try:
        if said := error_text(load_json(data[:100_000])):
            return said
    except (ValueError, RecursionError):
        pass
    if title := _PAGE_TITLE.search(data[:10_000]):
        return f"a web page, {title[1].strip()[:200].decode('utf-8', 'replace')!r}"
    return data[:300].decode("utf-8", "replace").strip() or "no explanation"
