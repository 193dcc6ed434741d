"""Forecast what the requests in flight will add: tokens of their prompts and replies, and seconds."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from sdg_helpers.completions.meter import Meter
from sdg_helpers.completions.types import Request

_UNBOUNDED_REPLY = 4096  # tokens assumed of a reply without max_tokens, while none has been seen
CHARACTERS_PER_TOKEN = 2.0  # where the server has not counted: few languages have less
_ENOUGH = 20  # completions; also at least as many as there are in flight, of which the short ones end first


class Expected(NamedTuple):
    """Tokens that the requests in flight are expected to add."""

    prompt: float
    completion: float


class Forecast:
    """Watches the requests of one call of `complete`.

    While few replies are known, each one in flight counts as the longest that is allowed. Then they count with the mean
    of those that are in flight at a random moment (the long ones are there for longer), and two standard deviations
    more for all of them together.
    """

    def __init__(self, max_tokens: int | None):
        self._longest = max_tokens or _UNBOUNDED_REPLY
        self.in_flight = 0
        self._characters = 0  # of the prompts in flight
        self._seen = self._prompts = self._sum = self._squares = 0
        self._meter = Meter()

    def sent(self, request: Request) -> None:
        """Count a request as in flight."""
        self.in_flight += 1
        self._characters += characters(request)

    def ended(self, request: Request, prompt_tokens: int, completion_tokens: int, seconds: float | None) -> None:
        """Count the end of a request's attempt. seconds: None if it was no completion, which says nothing of others."""
        self.in_flight -= 1
        self._characters -= characters(request)
        if seconds is not None:
            self._seen += 1
            self._prompts += prompt_tokens
            self._sum += completion_tokens
            self._squares += completion_tokens * completion_tokens
            self._meter.completed(prompt_tokens, completion_tokens, seconds)

    def expected(self, more: Request | None = None) -> Expected:
        """Return what those in flight will add, with one more request."""
        count = self.in_flight + (more is not None)
        longest = count * self._longest
        if self._seen < max(_ENOUGH, self.in_flight):
            length = self._characters + (characters(more) if more is not None else 0)
            return Expected(length / CHARACTERS_PER_TOKEN, longest)
        mean = self._sum / self._seen
        variance = max(0.0, self._squares / self._seen - mean * mean)
        while_in_flight = mean + variance / mean if mean else 0.0
        likely = count * while_in_flight + 2 * sqrt(count * variance)
        return Expected(count * self._prompts / self._seen, min(longest, likely))

    @property
    def seconds(self) -> float:
        """How long the slowest request in flight may take; 0.0 while no reply is known."""
        return self._meter.latency_s(0.99)


def characters(request: Request) -> int:
    """Return the length of a request's prompt."""
    return sum(len(message["content"]) for message in request.messages if isinstance(message.get("content"), str))
