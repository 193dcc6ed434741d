"""An attempt that brought no completion, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

# Kinds, by what to do about them.
BUSY = "busy"  # 429, 503: the server is full; send fewer at a time, and retry this one later
RETRY = "retry"  # may succeed next time; counts as an attempt
UNUSABLE = "unusable"  # a complete reply that is no answer: retried, but less often, since each one costs a generation
REJECTED = "rejected"  # this request will never succeed
FATAL = "fatal"  # no request will: wrong key, wrong model, wrong address
UNREACHABLE = "unreachable"  # there is no server at the moment


@dataclass(slots=True, frozen=True)
class FailedAttempt:
    """An attempt without a completion. kind: one of this module's constants; reason: a short code for counting.

    The tokens are those of a reply that came but is no completion.
    """

    kind: str
    reason: str
    detail: str
    retry_after_s: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
