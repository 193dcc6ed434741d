"""Put the comparisons that no rule decides before the judge model; each reply is on disk at once."""
from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..answers import normalise_reasoning
from ..cluster.chunks import ChunkReport, note_took
from ..completions import Completion, Failure, Limits, Progress, Request, Sampling
from ..prompts import Prompt
from ..serving import Server
from ..stages import Work
from .comparisons import Judge, row_key, row_of
from .judge_replies import read_judgement

_ROUNDS = ((0.0, 0), (0.7, 1), (0.7, 2))  # (temperature, seed): an unreadable reply is asked for again, less coldly
_KEPT_OF_REPLY = 2000  # characters of a reply's end
_TOOK = ("done", "failed", "retried", "pushed_back", "prompt_tokens", "completion_tokens", "elapsed_s")


@dataclass(frozen=True)
class Judging:
    """Who is asked, and how."""

    judge: Judge
    prompt: Prompt
    limits: Limits
    max_tokens: int


def ask_judge(work: Work | ChunkReport, pending: Path, server: Server, how: Judging, chunk: int = 0,
              num_chunks: int = 1) -> dict[str, Any]:
    """Ask the questions of a chunk (every num_chunks-th row of pending.jsonl) that have no reply yet.

    Rows of pending.jsonl: id, problem, predicted_answer, expected_answer. Appends to replies-{writer}.jsonl beside it,
    a file of this call's own, so that several may work at once. What stays unreadable after all rounds, or fails, goes
    to failures-{writer}.jsonl with its reason. Returns what it took.
    """
    with ExitStack() as stack:
        asking = _Asking(stack, work, pending, how, chunk, num_chunks)
        for temperature, seed in _ROUNDS:
            asking.one_round(server, temperature, seed)
    return dict(asking.took)


def unanswered(pending: Path, num_chunks: int) -> list[int]:
    """Chunks with questions that have no reply yet."""
    settled = {row_key(row) for path in replies(pending.parent) for row in files.read_log(path)}
    return sorted({number % num_chunks for number, row in enumerate(files.read_jsonl(pending))
                   if row_key(row) not in settled})


def ask_chunk(chunk: int, num_chunks: int, *, pending: Path, open_server: Callable[[], Server | None],
              how: Judging) -> None:
    """What one job does: ask_judge for its chunk, with a server of its own."""
    if chunk in unanswered(pending, num_chunks) and (server := open_server()) is not None:
        folder = pending.parent.parent
        note_took(folder, chunk, ask_judge(ChunkReport(folder, chunk), pending, server, how, chunk, num_chunks))


def replies(folder: Path) -> list[Path]:
    """The files of replies that a folder has."""
    return sorted(folder.glob("replies-*.jsonl"))


def failures(folder: Path) -> dict[int, dict[str, Any]]:
    """The latest failure of each comparison that had one, by key."""
    return {row_key(row): row for path in sorted(folder.glob("failures-*.jsonl")) for row in files.read_log(path)}


class _Asking:
    """One call of ask_judge."""

    def __init__(self, stack: ExitStack, work: Work | ChunkReport, pending: Path, how: Judging, chunk: int,
                 num_chunks: int):
        self.work, self.pending, self.how, self.chunk, self.num_chunks = work, pending, how, chunk, num_chunks
        self.settled = {row_key(row) for path in replies(pending.parent) for row in files.read_log(path)}
        self.total, self.took, self.last = sum(1 for _ in files.read_jsonl(pending)), Counter(), False
        writer = f"{chunk:04d}-{secrets.token_hex(4)}.jsonl"
        self.replies = stack.enter_context(files.AppendLog(pending.with_name(f"replies-{writer}")))
        self.failures = stack.enter_context(files.AppendLog(pending.with_name(f"failures-{writer}")))

    def one_round(self, server: Server, temperature: float, seed: int) -> None:
        self.last = seed == len(_ROUNDS) - 1
        progress = server.complete(
            self._requests(seed), model=self.how.judge.model,
            sampling=Sampling(temperature=temperature, max_tokens=self.how.max_tokens), limits=self.how.limits,
            on_completion=self._answered, on_failure=self._failed, on_progress=self._report)
        self.took.update({name: getattr(progress, name) for name in _TOOK})

    def _requests(self, seed: int) -> Iterator[Request]:
        for number, row in enumerate(files.read_jsonl(self.pending)):
            if number % self.num_chunks == self.chunk and row_key(row) not in self.settled:
                yield Request(row, self.how.prompt.messages(row), seed)

    def _answered(self, request: Request, completion: Completion) -> None:
        reply, row = normalise_reasoning(completion.content, completion.reasoning), request.key
        judgement = read_judgement(reply)
        if judgement is not None:
            self.settled.add(row_key(row))
            self.replies.append(row_of(row["id"], row["predicted_answer"], row["expected_answer"], judgement, "model",
                                       **asdict(self.how.judge), reply=reply[-_KEPT_OF_REPLY:]))
        elif self.last:
            self._note(row, "unreadable", reply[-_KEPT_OF_REPLY:])

    def _failed(self, request: Request, failure: Failure) -> None:
        self.settled.add(row_key(request.key))  # not again in this call
        self._note(request.key, failure.reason, failure.detail)

    def _note(self, row: dict[str, Any], reason: str, detail: str) -> None:
        self.failures.append({**{key: row[key] for key in ("id", "predicted_answer", "expected_answer")},
                              "reason": reason, "detail": detail})

    def _report(self, now: Progress) -> None:
        self.work.progress(len(self.settled), self.total, failed=now.failed, in_flight=now.in_flight,
                           tokens_per_s=round(now.tokens_per_s, 1), requests_per_s=round(now.requests_per_s, 2))
