"""What is asked of a model server, within which limits, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sdg_helpers.errors import SdgError


@dataclass(slots=True)
class Request:
    """One chat completion to ask for. `key` is the caller's own and is handed back untouched."""

    key: Any
    messages: list[dict[str, Any]]
    seed: int | None = None


@dataclass(frozen=True)
class Sampling:
    """How the model samples; None leaves a setting to the server. extra_body: further fields of the request's body."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("temperature", lambda value: value >= 0, "0 or more"),
            ("top_p", lambda value: 0 < value <= 1, "more than 0, 1 at most"),
            ("max_tokens", lambda value: value >= 1, "1 or more"),
        ):
            if (value := getattr(self, name)) is not None and not fits(value):
                raise SdgError(f"{name}: expected {expected}, found {value!r}.")


@dataclass(slots=True, frozen=True)
class Completion:
    """A model's reply. reasoning: what the server's reasoning parser set apart, or ""; seconds: of this attempt."""

    content: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class ServerGone(SdgError):
    """The server stayed away too long. Nothing is lost: what was not answered is asked again by the next run."""


@dataclass(frozen=True)
class Limits:
    """How many, how often, how long.

    concurrency: most requests in flight; fewer while the server pushes back. max_retries: further attempts for a
    request after its first failed one (429 and 503 do not count). timeout_s: longest wait for one whole reply (None:
    the client's own time-out). pushback_deadline_s: longest time one request is pushed back, or told to wait after an
    error, before it is a failure. outage_deadline_s: longest time the server may be unreachable, or refuse everything,
    before the run stops. max_failures_in_a_row: so many failures without one success stop the run.
    """

    concurrency: int = 64
    max_retries: int = 5
    timeout_s: float | None = 3600.0
    pushback_deadline_s: float = 3600.0
    outage_deadline_s: float = 600.0
    max_failures_in_a_row: int = 1000

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("max_retries", 0), ("max_failures_in_a_row", 1)):
            if not isinstance(value := getattr(self, name), int) or value < least:
                raise SdgError(f"{name}: expected a whole number, {least} or more, found {value!r}.")
        for name in ("timeout_s", "pushback_deadline_s", "outage_deadline_s"):
            value = getattr(self, name)
            if not (value is None and name == "timeout_s") and not value > 0:
                raise SdgError(f"{name}: expected seconds above 0, found {value!r}.")


@dataclass(slots=True, frozen=True)
class Failure:
    """A request that was given up. reason: a short code for counting (http_400, http_500, timeout, disconnected,
    bad_json, bad_reply, empty_choices, pushed_back, …); detail: what was seen last; attempts: times it was sent."""

    reason: str
    detail: str
    attempts: int
