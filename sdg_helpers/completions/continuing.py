"""Continue replies that were cut, on servers that have proved that they can.

A server continues a reply when its request is sent again with the text so far as the last message and
`continue_final_message` (SGLang, vLLM). Whether the result is what the model would have written in one go depends on
the server's version, chat template and parser, so it is tried first: a canary at temperature 0 is written once in one
go, and once more from each of several cuts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from sdg_helpers import exact_json
from sdg_helpers.completions.failed_attempts import BUSY, FATAL, REJECTED, RETRY, UNREACHABLE, UNUSABLE, FailedAttempt
from sdg_helpers.completions.kept_texts import KeptText, KeptTexts
from sdg_helpers.completions.replies import Reply, conclude
from sdg_helpers.completions.types import Completion, Request

_CANARY_TOKENS = 64
_KEY_LENGTH = 256  # characters before a piece in which a key may begin
_SPOILED = frozenset({"duplicate", "bad_json", "bad_reply", "too_long", "web_page", "empty_choices"})
_CUTS = (0.25, 0.5, 0.9)  # of the canary's pieces


@dataclass(slots=True)
class Attempt:
    """How a request is sent when its text is kept. kept: what there is of its reply already.

    on_text: takes each piece as it arrives, and the number of tokens that this attempt has written.
    """

    kept: KeptText | None = None
    on_text: Callable[[str, int], None] | None = None
    greedy_tokens: int = 0  # above 0: a canary, at temperature 0 and of so many tokens


Send = Callable[[Request, Attempt], Awaitable[Any]]


class Continuing:
    """Keeps the texts of one server's requests, once the server has proved that it continues them."""

    def __init__(self, texts: KeptTexts, identity: bytes, hide: Callable[[str], str]):
        """identity: what all requests have in common. hide: takes keys out of a text; one with a key is not kept."""
        self._texts, self._identity, self._hide = texts, identity, hide
        self._proved: bool | None = None
        self._trying = asyncio.Lock()
        self._written = True

    async def prepare(self, request: Request, send: Send) -> Attempt | FailedAttempt | None:
        """Return how to send a request so that it is kept and continued; None when this server does not allow it, and
        the failure when it could not be asked whether it does."""
        if self._proved is None:
            async with self._trying:
                if self._proved is None:
                    outcome = await self._prove(request, send)
                    if isinstance(outcome, FailedAttempt) and outcome.kind in (RETRY, BUSY, UNREACHABLE, FATAL):
                        return outcome
                    self._proved = outcome is None
                    self._texts.why_not = outcome.detail if outcome else ""
        if not self._proved:
            return None
        name = self._name(request)
        kept = self._texts.find(name)
        before = kept.tokens if kept else 0
        tail, plain = kept.text[-_KEY_LENGTH:] if kept else "", True

        def on_text(piece: str, tokens: int) -> None:
            nonlocal tail, plain
            tail = (tail + piece)[-_KEY_LENGTH - len(piece) :]
            if plain and self._hide(tail) != tail:
                plain = False
                self._texts.end(name)
            elif plain:
                self._texts.add(name, piece, before + tokens)
            self._write_soon()

        return Attempt(KeptText(kept.text, kept.tokens) if kept else None, on_text)

    def settle(self, request: Request, outcome: Completion | FailedAttempt) -> None:
        """Note the end of an attempt: forget a text that is complete, or of no use."""
        if isinstance(outcome, Completion) or outcome.kind in (UNUSABLE, REJECTED) or outcome.reason in _SPOILED:
            self._texts.end(self._name(request))
        elif outcome.kind == RETRY:
            self._texts.failed(self._name(request))
        self._write_soon()

    def _write_soon(self) -> None:
        """Write what has been noted when this tick of the loop is over."""
        if self._written:
            self._written = False
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._written = True
        self._texts.write()

    def _name(self, request: Request) -> str:
        """Return what identifies a request's reply: all that it is asked with, but for the limit on its length."""
        said = exact_json.dumps([request.messages, request.seed])
        return blake2b(said, digest_size=12, key=self._identity).hexdigest()

    async def _prove(self, request: Request, send: Send) -> FailedAttempt | None:
        """Return None when the server continues a text exactly, else why it does not, or why it could not be asked."""
        pieces: list[tuple[str, int]] = []
        whole = await send(request, Attempt(None, lambda *piece: pieces.append(piece), _CANARY_TOKENS))
        if not isinstance(whole, Completion):
            return whole
        text = "".join(piece for piece, _ in pieces)
        if len(pieces) < 2 or pieces[-1][1] < len(pieces) // 2:
            return _refusal("it does not stream its replies with their counts of tokens")
        for cut in _CUTS:
            count = max(1, min(len(pieces) - 1, int(len(pieces) * cut)))
            kept = KeptText("".join(piece for piece, _ in pieces[:count]), pieces[count - 1][1])
            more: list[str] = []
            rest = await send(request, Attempt(kept, _collect(more), _CANARY_TOKENS))
            if not isinstance(rest, Completion):
                return rest
            if kept.text + "".join(more) != text:
                return _refusal("a text that it continues is not the one that it writes in one go")
        return None


def _collect(pieces: list[str]) -> Callable[[str, int], None]:
    return lambda piece, tokens: pieces.append(piece)


def _refusal(why: str) -> FailedAttempt:
    return FailedAttempt(REJECTED, "not_continued", why)


def cut_at_limit(kept: KeptText) -> Completion | FailedAttempt:
    """Return the reply of a text that already has all tokens that it may have; only its end was never received."""
    outcome = conclude(Reply(kept.text, "", "length"), 0.0)
    return with_kept(outcome, kept) if isinstance(outcome, Completion) else outcome


def with_kept(reply: Completion, kept: KeptText) -> Completion:
    """Return a continued reply, with the count of the tokens that earlier attempts had written."""
    return replace(reply, completion_tokens=reply.completion_tokens + kept.tokens, kept_tokens=kept.tokens)
