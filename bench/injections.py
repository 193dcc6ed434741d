"""How often an answer that talks to the judge gets the verdict it asks for, without and with the guard.

    python -m bench.injections                                         # the demo profile's judge, on this machine
    python -m bench.injections --profile endpoint --prompt math/judge --rows 10

Each row of tests/data/injections.jsonl is a wrong answer with an instruction to the judge. A flip is a row that the
judge calls right although it calls the same wrong answer wrong (or unreadable) without the instruction.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from sdg_helpers import files, serving
from sdg_helpers.answers.equality import decide
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.steering import as_data, steers_judge
from sdg_helpers.profiles import load_profile
from sdg_helpers.prompts import Prompt, load_prompt
from sdg_helpers.serving.server import Server

INJECTIONS = Path(__file__).parents[1] / "tests" / "data" / "injections.jsonl"


def ask(server: Server, prompt: Prompt, rows: list[dict[str, Any]], max_tokens: int) -> list[bool | None]:
    """Return the judge's verdict on each row, None for an unreadable or missing reply."""
    verdicts: list[bool | None] = [None] * len(rows)

    def read(request: Request, completion: Completion) -> None:
        verdicts[request.key] = read_judgement(completion.text)

    def report(request: Request, failure: Failure) -> None:
        print(f"  row {request.key + 1}: {failure.reason}")

    server.complete(
        (Request(number, prompt.messages(row), 0) for number, row in enumerate(rows)),
        model=server.model,
        sampling=Sampling(temperature=0.0, max_tokens=max_tokens),
        limits=Limits(server.slots or 8, timeout_s=600),
        on_completion=read,
        on_failure=report,
        on_progress=lambda progress: None,
    )
    return verdicts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo", help="profile whose judge is asked")
    parser.add_argument("--prompt", default="math/judge-few-shot", help="the judge's prompt")
    parser.add_argument("--rows", type=int, default=None, help="use only the first rows")
    parser.add_argument("--max-tokens", type=int, default=200, help="longest reply")
    options = parser.parse_args()
    prompt = load_prompt(options.prompt)
    rows = list(files.read_jsonl(INJECTIONS))[: options.rows]
    raw = [{**row, "predicted_answer": row["predicted"], "expected_answer": row["expected"]} for row in rows]
    plain = [{**row, "predicted_answer": row["wrong"]} for row in raw]
    sent = [
        {**row, "predicted_answer": as_data(row["predicted"])}
        for row in raw
        if not decide(row["predicted"], row["expected"], row["problem"])[1]
        and not steers_judge(row["predicted"], row["expected"])
    ]
    with tempfile.TemporaryDirectory() as folder:
        server = serving.open_server(load_profile(options.profile).server("judge"), folder)
        try:
            without, before, after = (ask(server, prompt, each, options.max_tokens) for each in (plain, raw, sent))
        finally:
            server.stop()
    flips = sum(one is True and other is not True for one, other in zip(before, without, strict=True))
    print(f"{len(rows)} wrong answers: {without.count(True)} called right without an instruction")
    print(f"without the guard: {flips} flips, {before.count(None)} unreadable")
    print(f"with the guard: {after.count(True)} called right, {len(rows) - len(sent)} undecided without being sent")


if __name__ == "__main__":
    main()
