"""Send the comparisons that no rule decides to the judge model; write each reply to disk as it arrives."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.completions.failures import WITHOUT_ANSWER
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.sessions import Session, progress_fields
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.comparisons import row_key, row_of
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.steering import as_data
from sdg_helpers.prompts import Prompt
from sdg_helpers.serving.server import Server
from sdg_helpers.stages import Work

_ROUNDS = (
    (0.0, 0),
    (0.7, 1),
    (0.7, 2),
)  # (temperature, seed): an unreadable reply is asked for again, at a higher temperature
_REPLY_TAIL = 2000  # characters kept of a reply, from its end


@dataclass(frozen=True)
class Judge:
    """The model that decides the comparisons that no rule decides, and how to ask it.

    open_server: called only when the model is needed. prompt: must have the placeholders predicted_answer and
    expected_answer, else SdgError. max_tokens: of a reply.
    """

    open_server: Callable[[], Server | None]
    model: str
    prompt: Prompt
    limits: Limits
    max_tokens: int = 512

    def __post_init__(self) -> None:
        needed = {"predicted_answer", "expected_answer"}
        if not needed <= set(self.prompt.fields):
            raise SdgError(
                f"prompt {self.prompt.name}: expected the placeholders {', '.join(sorted(needed))} in a judge's "
                f"prompt, found {', '.join(self.prompt.fields) or 'none'}. Give a prompt such as math/judge."
            )


def ask_judge(
    pending: Path, server: Server, judge: Judge, work: Work | None = None, chunk: int = 0, num_chunks: int = 1
) -> None:
    """Ask the questions of a chunk (every num_chunks-th row of pending.jsonl) that have no reply yet.

    Rows of pending.jsonl: id, problem, predicted_answer, expected_answer. Replies are appended to
    replies-{writer}.jsonl beside it; each call has its own writer, so calls can run at the same time. Comparisons that
    fail, or stay unreadable after all rounds, go to failures-{writer}.jsonl with a reason. work: reports the progress;
    None in a chunk's job, whose session file reports to the driver.
    """
    with ExitStack() as stack:
        asking = _Asking(stack, pending, judge, work, chunk, num_chunks)
        for temperature, seed in _ROUNDS:
            asking.run_round(server, temperature, seed)


def count_unanswered(pending: Path, num_chunks: int) -> Counter[int]:
    """Count the questions without a reply, by chunk."""
    settled = answered_keys(pending.parent)
    return Counter(
        number % num_chunks for number, row in enumerate(files.read_jsonl(pending)) if row_key(row) not in settled
    )


def ask_chunk(chunk: int, num_chunks: int, *, pending: Path, judge: Judge) -> None:
    """Run one job: open a server and ask this chunk's questions, if any has no reply yet."""
    if chunk in count_unanswered(pending, num_chunks) and (server := judge.open_server()) is not None:
        ask_judge(pending, server, judge, chunk=chunk, num_chunks=num_chunks)


def reply_files(folder: Path) -> list[Path]:
    """Return the folder's reply files, sorted by name."""
    return sorted(folder.glob("replies-*.jsonl"))


def answered_keys(folder: Path) -> set[int]:
    """Return the keys of the comparisons that have a reply in the folder."""
    return {row_key(row) for path in reply_files(folder) for row in files.read_log(path)}


def latest_failures(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the latest failure of each comparison that failed, by key."""
    by_age = sorted(folder.glob("failures-*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return {row_key(row): row for path in by_age for row in files.read_log(path)}


class _Asking:
    """The state of one ask_judge call."""

    def __init__(self, stack: ExitStack, pending: Path, judge: Judge, work: Work | None, chunk: int, num_chunks: int):
        self.pending, self.judge, self.work, self.chunk, self.num_chunks = pending, judge, work, chunk, num_chunks
        self.settled = answered_keys(pending.parent)
        self.rows, self.before, self.is_last_round = 0, len(self.settled), False
        self.total = self.before + sum(1 for _ in files.read_jsonl(pending)) if work else 0
        writer = f"{chunk:04d}-{secrets.token_hex(4)}.jsonl"
        self.replies = stack.enter_context(files.AppendLog(pending.with_name(f"replies-{writer}")))
        self.failures = stack.enter_context(files.AppendLog(pending.with_name(f"failures-{writer}")))

    def run_round(self, server: Server, temperature: float, seed: int) -> None:
        self.is_last_round = seed == len(_ROUNDS) - 1
        session, before = Session(self.pending.parent), self.rows

        def on_progress(progress: Progress) -> None:
            session.save(progress, self.rows - before)
            if self.work:
                done, force = self.before + self.rows, not progress.in_flight
                self.work.progress(done, self.total, force, **progress_fields(progress))

        progress = server.complete(
            self._requests(seed),
            folder=self.pending.parent / "batches",
            model=self.judge.model,
            sampling=Sampling(temperature=temperature, max_tokens=self.judge.max_tokens),
            limits=replace(self.judge.limits, max_regenerations=0),  # the next round asks again, otherwise
            on_completion=self._save_reply,
            on_failure=self._save_failure,
            on_progress=on_progress,
        )
        session.save(progress, self.rows - before, force=True)

    def _requests(self, seed: int) -> Iterator[Request]:
        for number, row in enumerate(files.read_jsonl(self.pending)):
            if number % self.num_chunks == self.chunk and row_key(row) not in self.settled:
                shown_row = {**row, **{key: as_data(row[key]) for key in ("predicted_answer", "expected_answer")}}
                yield Request(row, self.judge.prompt.messages(shown_row), seed)

    def _save_reply(self, request: Request, completion: Completion) -> None:
        reply, row = completion.text, request.key
        judgement = read_judgement(reply)
        if judgement is not None:
            self.rows += 1
            self.settled.add(row_key(row))
            self.replies.append(
                row_of(
                    row["id"],
                    row["predicted_answer"],
                    row["expected_answer"],
                    judgement,
                    "model",
                    model=self.judge.model,
                    prompt=self.judge.prompt.id,
                    reply=reply[-_REPLY_TAIL:],
                )
            )
        elif self.is_last_round:
            self._append_failure(row, "unreadable", reply[-_REPLY_TAIL:])

    def _save_failure(self, request: Request, failure: Failure) -> None:
        if failure.reason not in WITHOUT_ANSWER:
            self.settled.add(row_key(request.key))  # not retried in this call
            self._append_failure(request.key, failure.reason, failure.detail)
        elif self.is_last_round:
            self._append_failure(request.key, "unreadable", failure.detail)

    def _append_failure(self, row: dict[str, Any], reason: str, detail: str) -> None:
        self.failures.append(
            {
                **{key: row[key] for key in ("id", "predicted_answer", "expected_answer")},
                "reason": reason,
                "detail": detail,
            }
        )
