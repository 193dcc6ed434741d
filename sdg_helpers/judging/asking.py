"""Send the comparisons that no rule decides to the judge model; write each reply to disk as it arrives."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.cluster.this_job import attempt_name
from sdg_helpers.completions.failures import WITHOUT_ANSWER
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.sessions import Session, progress_fields
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.comparisons import row_key, row_of
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.steering import as_data
from sdg_helpers.problems.problem_file import ProblemFile
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


def _ignore(request: Request) -> None:
    """Do nothing."""


def ask_judge(pending: Path, server: Server, judge: Judge, work: Work) -> None:
    """Ask the questions of pending.jsonl that have no reply yet, and report the progress.

    Rows of pending.jsonl: id, problem, predicted_answer, expected_answer.
    """
    settled = answered_keys(pending.parent)
    before, total = len(settled), len(settled) + sum(1 for _ in files.read_jsonl(pending))

    def report(progress: Progress, replies: int) -> None:
        work.progress(before + replies, total, not progress.in_flight, **progress_fields(progress))

    with Asking(pending, judge, settled, report) as asking:
        asking.run(server, asking.requests())


def reply_files(folder: Path) -> list[Path]:
    """Return the folder's reply files, sorted by name."""
    return sorted(folder.glob("replies-*.jsonl"))


def answered_keys(folder: Path, writer: str = "*") -> set[int]:
    """Return the keys of the comparisons that have a reply in the folder, by one writer or by any."""
    return {row_key(row) for path in folder.glob(f"replies-{writer}.jsonl") for row in files.read_log(path)}


def latest_failures(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the latest failure of each comparison that failed, by key."""
    by_age = sorted(folder.glob("failures-*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return {row_key(row): row for path in by_age for row in files.read_log(path)}


class Asking:
    """One attempt at pending questions. Replies are appended to replies-{name}.jsonl beside pending.jsonl.

    Questions that fail, or stay unreadable after all rounds, go to failures-{name}.jsonl with a reason. Names are
    unique, so attempts can run at the same time. A request's key is (row in pending.jsonl, 0, question).
    """

    def __init__(
        self,
        pending: Path,
        judge: Judge,
        settled: set[int],
        on_progress: Callable[[Progress, int], None] = lambda progress, replies: None,
    ):
        """settled: keys of the questions that are not to be asked; grows. on_progress: called with the replies so far
        as well."""
        self.name = f"{time.time_ns()}-judge-{attempt_name()}-{secrets.token_hex(4)}"
        self.questions, self.settled = ProblemFile(pending), settled
        self._folder, self._judge, self._on_progress = pending.parent, judge, on_progress
        self._on_end: Callable[[Request], None] = _ignore
        self._on_unreadable: Callable[[Request], None] = _ignore
        self._more: Callable[[], Mapping[str, Any]] = dict
        self._replied, self._unreadable, self._is_last_round = 0, list[int](), False
        self._replies = files.AppendLog(self._folder / f"replies-{self.name}.jsonl")
        self._failures = files.AppendLog(self._folder / f"failures-{self.name}.jsonl")

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *error: object) -> None:
        self._replies.close()
        self._failures.close()

    def sync(self) -> None:
        """Put the replies on disk, against power cuts. May be called from another thread."""
        self._replies.flush()

    def requests(self, rows: Iterable[int] | None = None, seed: int = 0) -> Iterator[Request]:
        """Yield the questions of these rows (None: of all) that are not settled."""
        for row, question in self.questions.read(range(len(self.questions)) if rows is None else rows):
            if row_key(question) not in self.settled:
                shown = {key: as_data(question[key]) for key in ("predicted_answer", "expected_answer")}
                yield Request((row, 0, question), self._judge.prompt.messages({**question, **shown}), seed)

    def run(
        self,
        server: Server,
        requests: Iterable[Request | None],
        on_end: Callable[[Request], None] = _ignore,
        on_unreadable: Callable[[Request], None] = _ignore,
        more: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """Ask in rounds. on_end: called when a question is settled, and its reply or failure is written; on_unreadable:
        when it has to be asked again in the next round, after all others. more: returns further fields of the session's
        file."""
        self._on_end, self._on_unreadable, self._more = on_end, on_unreadable, more
        for temperature, seed in _ROUNDS:
            again, self._unreadable = self._unreadable, []
            self._is_last_round = seed == len(_ROUNDS) - 1
            if seed == 0 or again:
                self._run_round(server, self.requests(sorted(again), seed) if seed else requests, temperature)

    def _run_round(self, server: Server, requests: Iterable[Request | None], temperature: float) -> None:
        session, before = Session(self._folder, self._more), self._replied

        def on_progress(progress: Progress) -> None:
            session.save(progress, self._replied - before)
            self._on_progress(progress, self._replied)

        progress = server.complete(
            requests,
            folder=self._folder / "batches",
            model=self._judge.model,
            sampling=Sampling(temperature=temperature, max_tokens=self._judge.max_tokens),
            limits=replace(self._judge.limits, max_regenerations=0),  # the next round asks again, otherwise
            on_completion=self._save_reply,
            on_failure=self._save_failure,
            on_progress=on_progress,
        )
        session.save(progress, self._replied - before, force=True)

    def _save_reply(self, request: Request, completion: Completion) -> None:
        reply, row = completion.text, request.key[2]
        judgement = read_judgement(reply)
        if judgement is None:
            self._ask_again(request, reply[-_REPLY_TAIL:])
            return
        self._replies.append(
            row_of(
                row["id"],
                row["predicted_answer"],
                row["expected_answer"],
                judgement,
                "model",
                model=self._judge.model,
                prompt=self._judge.prompt.id,
                reply=reply[-_REPLY_TAIL:],
            )
        )
        self._replied += 1
        self._settle(request)

    def _save_failure(self, request: Request, failure: Failure) -> None:
        if failure.reason in WITHOUT_ANSWER:
            self._ask_again(request, failure.detail)
        else:
            self._give_up(request, failure.reason, failure.detail)

    def _ask_again(self, request: Request, detail: str) -> None:
        if self._is_last_round:
            self._give_up(request, "unreadable", detail)
        else:
            self._unreadable.append(request.key[0])
            self._on_unreadable(request)

    def _give_up(self, request: Request, reason: str, detail: str) -> None:
        row = {key: request.key[2][key] for key in ("id", "predicted_answer", "expected_answer")}
        self._failures.append({**row, "reason": reason, "detail": detail})
        self._settle(request)

    def _settle(self, request: Request) -> None:
        self.settled.add(row_key(request.key[2]))
        self._on_end(request)
