"""Requests to a model server, the limits on sending them, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    from sdg_helpers.answers.thinking import ThinkingForm
    from sdg_helpers.completions.failed_attempts import FailedAttempt


@dataclass(slots=True)
class Request:
    """One chat completion to request. `key` belongs to the caller and is passed back to the callbacks unchanged."""

    key: Any
    messages: list[dict[str, Any]]
    seed: int | None = None


@dataclass(frozen=True)
class Sampling:
    """Sampling settings; None leaves one to the server. extra_body: further fields of the request's body."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("temperature", lambda value: value >= 0, "0 or more"),
            ("top_p", lambda value: 0 < value <= 1, "above 0 and at most 1"),
            ("max_tokens", lambda value: value >= 1, "1 or more"),
        ):
            if (value := getattr(self, name)) is not None and not fits(value):
                raise SdgError(f"{name} must be {expected}, not {value!r}.")


@dataclass(frozen=True)
class Target:
    """One of several servers. client: an openai client for it; weight: its share of the requests beside the others'."""

    client: Any
    weight: float = 1.0


@dataclass(slots=True, frozen=True)
class Completion:
    """A model's reply. text: its thinking and answer, as `normalise_reasoning` joins them; thinking: the form in which
    the server sent it; seconds: of this attempt; kept_tokens: how many of its tokens earlier attempts had written."""

    text: str
    thinking: ThinkingForm
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    kept_tokens: int = 0


class ServerGone(SdgError):
    """The server was unreachable for too long. Finished requests are kept; the next run sends the others again."""


@dataclass(frozen=True)
class Limits:
    """Limits on concurrency, retries and waiting.

    concurrency: maximum requests in flight; fewer while the server pushes back. max_retries: attempts after the first
    failed one (429 and 503 do not count). max_regenerations: attempts after a complete reply without an answer.
    timeout_s: seconds to wait for one complete reply (None: the client's timeout). pushback_deadline_s: seconds that
    one request may be pushed back, or asked to wait after an error, before it fails. outage_deadline_s: seconds that
    the server may be unreachable, or refuse everything, before the run stops. max_failures_in_a_row: consecutive
    failures that stop the run.
    """

    concurrency: int = 64
    max_retries: int = 5
    max_regenerations: int = 2
    timeout_s: float | None = 3600.0
    pushback_deadline_s: float = 3600.0
    outage_deadline_s: float = 600.0
    max_failures_in_a_row: int = 1000

    def __post_init__(self) -> None:
        for name, least in (
            ("concurrency", 1),
            ("max_retries", 0),
            ("max_regenerations", 0),
            ("max_failures_in_a_row", 1),
        ):
            if not isinstance(value := getattr(self, name), int) or value < least:
                raise SdgError(f"{name} must be a whole number, {least} or more, not {value!r}.")
        for name in ("timeout_s", "pushback_deadline_s", "outage_deadline_s"):
            value = getattr(self, name)
            if not (value is None and name == "timeout_s") and not value > 0:
                raise SdgError(f"{name} must be above 0 (seconds), not {value!r}.")


@dataclass(slots=True, frozen=True)
class Failure:
    """A request that was given up.

    reason: a short code for counting (http_400, http_500, timeout, disconnected, bad_json, bad_reply, empty, no_answer,
    pushed_back, …); detail: the last error; attempts: how often it was sent.
    """

    reason: str
    detail: str
    attempts: int


class Allowance(Protocol):
    """Decides whether another request may be sent. Every attempt that it admits ends with a call of `ended`."""

    def admits(self, request: Request) -> bool:
        """Whether the request may be sent now; it is asked again when another one has ended."""
        ...

    def ended(self, request: Request, outcome: Completion | FailedAttempt) -> None:
        """Count the end of an attempt."""
        ...

    def refusal(self) -> SdgError:
        """Return the error that ends the run when nothing is in flight and nothing is admitted."""
        ...
