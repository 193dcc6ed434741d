"""Read a reply that arrives as server-sent events, piece by piece as the model writes it."""

from __future__ import annotations

import zlib
from typing import Any

from sdg_helpers.completions.continuing import Attempt, with_kept
from sdg_helpers.completions.failed_attempts import RETRY, FailedAttempt
from sdg_helpers.completions.replies import (
    Reply,
    conclude,
    load_json,
    malformed,
    read_message,
    read_refusal,
    read_usage,
    reported_error,
)
from sdg_helpers.completions.types import Completion

_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


def is_event_stream(data: bytes) -> bool:
    """Return whether a body looks like an event stream, whatever its content type says."""
    return data[:64].lstrip().startswith(_STARTS)


class EventStream:
    """One streamed reply. Feed it the bytes as they arrive; only the text is kept, not the events."""

    def __init__(self, cap_bytes: int, attempt: Attempt | None = None):
        """attempt: where the text goes as it arrives, and what it continues."""
        self._attempt, self._told = attempt, 0
        self._buffer, self._searched, self._cap, self._size = bytearray(), 0, cap_bytes, 0
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._finish: Any = None
        self._usage = (0, 0)
        self._closed = self._begun = False
        self._failure: FailedAttempt | None = None
        self.checksum = 0  # of the first event, whose id and time differ from those of other replies, and of the text

    @property
    def ended(self) -> bool:
        """Whether the model's text is complete: the finish reason or the closing event has arrived."""
        return self._closed or self._finish is not None

    @property
    def stopped(self) -> bool:
        """Whether no more bytes are needed: the closing event, an error, or too many bytes have arrived."""
        return self._closed or self._failure is not None

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        buffer = self._buffer
        buffer += data.replace(b"\r", b"")
        start = 0
        while (end := buffer.find(b"\n\n", max(start, self._searched))) >= 0 and not self.stopped:
            if end > start:
                self._read_event(bytes(buffer[start:end]))
            start = self._searched = end + 2
        del buffer[:start]
        if self._attempt is not None:
            self._tell(self._attempt)
        self._searched = max(0, len(buffer) - 1)
        if self._size + len(buffer) > self._cap:
            self._failure = FailedAttempt(RETRY, "too_long", f"the reply is longer than {self._cap >> 20} MiB")

    def finish(self, seconds: float) -> Completion | FailedAttempt:
        """Return the outcome, when no more bytes come."""
        if not self.stopped and (rest := bytes(self._buffer).strip(b"\n")):
            self._read_event(rest)
        if self._failure is not None:
            return self._failure
        if not self.ended:
            return FailedAttempt(
                RETRY, "disconnected", f"the event stream ended early, after {self._size} bytes of text"
            )
        refusal = "".join(self._refusal)
        kept = self._attempt.kept if self._attempt else None
        if kept is not None:
            self._content.insert(0, kept.text)
        reply = Reply("".join(self._content), "".join(self._reasoning), self._finish, *self._usage, refusal)
        outcome = conclude(reply, seconds)
        return with_kept(outcome, kept) if kept is not None and isinstance(outcome, Completion) else outcome

    def _tell(self, attempt: Attempt) -> None:
        """Pass on what has arrived since the last time, if it is all of the text and its tokens are known."""
        if attempt.on_text is None or self._reasoning or self._failure is not None:
            return
        piece = "".join(self._content[self._told :])
        if piece and self._usage[1]:
            attempt.on_text(piece, self._usage[1])
            self._told = len(self._content)

    def _read_event(self, event: bytes) -> None:
        if event.startswith(b"data:") and b"\n" not in event:
            data = event[5:].strip()
        else:
            lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
            data = b"\n".join(lines).strip()
        if not data:  # a comment that keeps the connection alive
            return
        if data == b"[DONE]":
            self._closed = True
            return
        if not self._begun:
            self._begun, self.checksum = True, zlib.crc32(data)
        try:
            self._read_part(load_json(data))
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
            self._failure = malformed(error, data)

    def _read_part(self, part: Any) -> None:
        choices = part.get("choices")
        if (usage := part.get("usage")) is not None:
            self._usage = read_usage(usage)
        if part.get("error") or (choices and choices[0].get("error")):
            self._failure = reported_error(part)
        elif choices and choices[0].get("index") in (0, None):
            choice = choices[0]
            message = choice.get("delta") or choice.get("message") or {}
            content, reasoning = read_message(message)
            self._refusal.append(read_refusal(message))
            if content:
                self._content.append(content)
            if reasoning:
                self._reasoning.append(reasoning)
            self._size += len(content) + len(reasoning)
            self.checksum = hash((self.checksum, content, reasoning))
            if choice.get("finish_reason") is not None:
                self._finish = choice["finish_reason"]
