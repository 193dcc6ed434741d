"""Ask a server for solutions and write each to disk as it arrives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sdg_helpers import files
from sdg_helpers.completions.kept_texts import KeptTexts
from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.sessions import Session, progress_fields
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.prompts import Prompt
from sdg_helpers.serving.server import Server
from sdg_helpers.solutions.rows import solution_line
from sdg_helpers.solutions.seed_files import PartialWriter
from sdg_helpers.stages import Work


@dataclass(frozen=True)
class GenerationSettings:
    """Which model is asked, with what prompt, and how."""

    model: str
    prompt: Prompt
    sampling: Sampling
    limits: Limits
    run_seed: int


def sampling_seed(run_seed: int, problem_id: str, seed: int) -> int:
    """Return the seed to send to the server: 31 bits that depend on run seed, problem and the solution's seed.

    The solution's seed alone would be the same for every problem, and equal sampling seeds can give equal answers.
    """
    digest = hashlib.blake2b(f"{run_seed}/{problem_id}/{seed}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def requests_for(
    position: int, problem: dict[str, Any], done: np.ndarray, settings: GenerationSettings
) -> Iterator[Request]:
    """Yield a request per solution of a problem that is not done: a bool array of shape (seeds,).

    The keys are (position, seed, problem).
    """
    if missing := [seed for seed, is_done in enumerate(done.tolist()) if not is_done]:
        messages = settings.prompt.messages(problem)
        for seed in missing:
            yield Request((position, seed, problem), messages, sampling_seed(settings.run_seed, problem["id"], seed))


def all_requests(problems: Path, done: np.ndarray, settings: GenerationSettings) -> Iterator[Request]:
    """Yield a request per missing solution; those of one problem follow each other, for the server's prefix cache."""
    for position, problem in enumerate(read_problems(problems)):
        yield from requests_for(position, problem, done[position], settings)


def solve(
    requests: Iterable[Request | None],
    writer: PartialWriter,
    done: np.ndarray,
    server: Server,
    settings: GenerationSettings,
    on_end: Callable[[Request], None] = lambda request: None,
    work: Work | None = None,
    skipped: int = 0,
    more: Callable[[], Mapping[str, Any]] = dict,
    texts: KeptTexts | None = None,
) -> None:
    """Stream requests through the server into the writer's files, and mark the solutions in `done`.

    on_end: called when a request has ended, and its row or its failure is written. work: reports progress there; None
    in a job, where the driver reads the session's file. skipped: how many are marked as done because nobody asks for
    them. more: returns further fields of the session's file. texts: keeps what arrives of each reply.
    """
    before, total = int(done.sum()) - skipped, done.size - skipped
    partial = writer.folder

    def all_fields() -> Mapping[str, Any]:
        return {**more(), **({"not_continued": texts.why_not} if texts is not None and texts.why_not else {})}

    session = Session(partial, all_fields)
    live = server.batch is None  # then rows may wait for the others of their loop's tick; a batch is delivered once
    keep, ticking = (writer.add, {"on_tick": writer.write}) if live else (writer.append, {})
    with (
        files.AppendLog(partial / f"failures-{writer.name}.jsonl") as failures,
        files.AppendLog(partial / f"continued-{writer.name}.jsonl") as continued,
    ):

        def on_completion(request: Request, completion: Completion) -> None:
            position, seed, problem = request.key
            line = solution_line(
                problem,
                seed=seed,
                generation=completion.text,
                finish_reason=completion.finish_reason,
                num_generated_tokens=completion.completion_tokens,
            )
            keep(seed, line)
            if completion.kept_tokens:
                continued.append({"id": problem["id"], "seed": seed, "kept_tokens": completion.kept_tokens})
            done[position, seed] = True
            on_end(request)

        def on_failure(request: Request, failure: Failure) -> None:
            _, seed, problem = request.key
            failures.append({"id": problem["id"], "seed": seed, **asdict(failure)})
            on_end(request)

        def on_progress(progress: Progress) -> None:
            if texts is not None and texts.why_not:
                progress = replace(progress, note=f"replies that are cut are asked for anew: {texts.why_not}")
            session.save(progress, progress.done)
            if work:
                work.progress(before + progress.done, total, not progress.in_flight, **progress_fields(progress))

        if work:
            work.progress(before, total, force=True)
        progress = server.complete(
            requests,
            folder=partial / "batches",
            model=settings.model,
            sampling=settings.sampling,
            limits=settings.limits,
            on_completion=on_completion,
            on_failure=on_failure,
            on_progress=on_progress,
            texts=texts,
            **ticking,
        )
        session.save(progress, progress.done, force=True)
