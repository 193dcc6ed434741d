"""Ask a request of a run again, and compare the reply with the one that was kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from sdg_helpers.completions.meter import Progress
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.lineage.finding import Found, find_by_seed
from sdg_helpers.prompts import load_prompt
from sdg_helpers.runs.run import Run
from sdg_helpers.serving.server import Server
from sdg_helpers.solutions.rows import GENERATED_KEYS
from sdg_helpers.solutions.solving import sampling_seed


@dataclass(frozen=True)
class Replayed:
    """Both replies to one request. notes: what has changed since."""

    before: Found
    reply: Completion
    notes: list[str]

    @property
    def text(self) -> str:
        """The new reply, in the form of a solution."""
        return self.reply.text

    @property
    def same_until(self) -> int | None:
        """Where the new text first differs from the old one; None if it does not."""
        old, new = self.before.text, self.text
        if old == new:
            return None
        return len(os.path.commonprefix([old, new]))


def replay(run: Run, track: str, problem_id: str, seed: int, timeout_s: float = 900.0) -> Replayed:
    """Send the request of a solution again, to the solver of the run's profile; no file of a stage changes.

    Raises SdgError when the run has no such solution, when the server runs only in jobs, and when the request fails.
    """
    found = find_by_seed(run.track(track), problem_id, seed)
    if run.profile.server("solver").engine == "sglang":
        raise SdgError(
            f"run {run.name!r}: its solver runs in jobs of a cluster. Start it, or another server of the same model, "
            "and give a profile with `engine: endpoint` that has its address (--profile)."
        )
    known = run.track(track).stage("solutions").require()["parameters"]
    prompt = load_prompt(known["prompt_name"])
    notes = [] if prompt.id == known["prompt"] else [f"the prompt {known['prompt_name']} has changed since"]
    if run.model("solver") != known["model"]:
        notes.append(f"the model was {known['model']}, now it is {run.model('solver')}")
    problem = {key: value for key, value in found.solution.keys.items() if key not in GENERATED_KEYS}
    request = Request(None, prompt.messages(problem), sampling_seed(known.get("run_seed", 0), problem_id, seed))
    outcomes: list[Completion | Failure] = []
    server = run.server("solver")
    if server is None:
        raise SdgError("This process is not the first of its job, and has no server. Replay outside a job.")
    server.batch = None  # one request is not worth a batch
    try:
        _ask(server, request, run.model("solver"), known, timeout_s, outcomes)
    finally:
        server.stop()
    outcome = outcomes[0]
    if isinstance(outcome, Failure):
        raise SdgError(f"The server gave no reply: {outcome.reason} ({outcome.detail}).")
    return Replayed(found, outcome, notes)


def _ask(
    server: Server,
    request: Request,
    model: str,
    known: dict[str, Any],
    timeout_s: float,
    outcomes: list[Completion | Failure],
) -> None:
    """Send one request with the sampling settings of a stage's parameters, and add its outcome to `outcomes`."""
    server.complete(
        [request],
        model=model,
        sampling=Sampling(known["temperature"], known["top_p"], known["max_tokens"], known.get("extra_body") or {}),
        limits=Limits(concurrency=1, timeout_s=timeout_s),
        on_completion=lambda request, reply: outcomes.append(reply),
        on_failure=lambda request, failure: outcomes.append(failure),
        on_progress=_ignore,
    )


def _ignore(progress: Progress) -> None:
    """Show no progress of one request."""
