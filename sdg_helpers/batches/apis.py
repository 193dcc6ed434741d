"""What the batch APIs of the providers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sdg_helpers.batches.calls import Calls
from sdg_helpers.batches.records import Batch


@dataclass(frozen=True)
class State:
    """What the provider says about a batch. results: paths to download once it has ended.

    outcome: "expired", "cancelled" or "failed" (not begun, because of `error`); busy: failed only because too much is
    waiting at the provider.
    """

    ended: bool
    done: int = 0
    outcome: str = ""
    results: tuple[str, ...] = ()
    error: str = ""
    busy: bool = False


class Undecided(Exception):
    """It is not known yet whether a batch has been created."""


class BatchApi(ABC):
    """One provider's batch API. head, separator, tail: what is around the requests in a batch's file."""

    max_requests: ClassVar[int]
    max_bytes: ClassVar[int]
    head: ClassVar[bytes] = b""
    separator: ClassVar[bytes] = b"\n"
    tail: ClassVar[bytes] = b"\n"

    def __init__(self, calls: Calls):
        self.calls = calls

    @abstractmethod
    def line(self, custom_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return one request of a batch. body: of a chat completion."""

    def upload(self, batch: Batch, path: Path) -> str:
        """Upload a batch's file and return its id, "" where files are not uploaded. Raises FailedCall."""
        return ""

    def mark(self) -> str:
        """Return the newest batch of the account, if `find` needs it."""
        return ""

    @abstractmethod
    def create(self, batch: Batch, path: Path) -> str:
        """Submit a batch and return its id. Raises FailedCall."""

    @abstractmethod
    def find(self, batch: Batch) -> str | None:
        """Return the id of a batch that was perhaps created, None if it was not. Raises Undecided."""

    @abstractmethod
    def poll(self, batch: Batch) -> State:
        """Return the state of a batch."""

    @abstractmethod
    def read(self, row: dict[str, Any]) -> tuple[int, Any, str]:
        """Return (status, body, error) of a row of results, as of a chat completion.

        status: of HTTP; 0 where the request was not answered, for the reason `error`.
        """
