"""The sample browser on a made run: `python -m bench.browser` makes 300,000 problems x 16 and measures.

It prints the seconds to build the index, the time of the first page, of filters, sorts and searches, and of a problem,
each over HTTP as the page asks, and the server's peak memory. `--make FOLDER` only makes the run, for a look at it;
`--measure FOLDER` only measures one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing.connection
import random
import resource
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pandas as pd

from sdg_helpers import files
from sdg_helpers.browser import serve
from sdg_helpers.browser.site import Site
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.runs.run import Track
from sdg_helpers.sft.filters import Filters
from sdg_helpers.solutions.rows import solution_line

_QUESTIONS = (
    "Find the sum of all positive integers $n \\le {a}$ for which $n^2 + {b}n$ is divisible by ${c}$.",
    "Let $f(x) = x^3 - {a}x + {b}$ have the roots $r, s, t$. Compute\n\\[ r^{{2}} + s^{{2}} + t^{{2}} + {c}rst. \\]",
    "A box holds {a} red and {b} blue marbles. Two are drawn without replacement. What is the probability that both "
    "have the same colour? Give a fraction in lowest terms.",
    "Evaluate $\\displaystyle \\int_0^{{{c}}} \\frac{{{a}x + {b}}}{{x^2 + 1}} \\, dx$ to the nearest integer.",
    "How many ordered pairs $(x, y)$ of integers satisfy $|x| + {c}|y| \\le {a}$?",
    "In triangle $ABC$, $AB = {a}$, $AC = {b}$ and $\\angle A = 60^\\circ$. Find $BC^2$.",
)
_SOURCES = ("aops", "olympiads", "cn_contest", "amc_aime", "synthetic")
_TIERS = ("exact", "exact", "exact", "numeric", "symbolic", "model")


def make_run(folder: Path, problems: int, seeds: int, thinking: int = 300, random_seed: int = 0) -> Track:
    """Write the files of a math run, up to the export's manifest. thinking: characters, roughly, of each solution."""
    chance, track = random.Random(random_seed), Track(folder / "math", "math")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "run.yaml", {"profile": "demo", "begun_at": "2026-01-01T00:00:00", "sessions": []})
    rows = [_problem(number, chance) for number in range(problems)]
    track.problems.mkdir(parents=True, exist_ok=True)
    with open(track.problems / "problems.jsonl", "wb") as out:
        out.writelines(map(files.dumps, rows))
    solved = [chance.betavariate(0.6, 0.4) for _ in rows]
    _write_labels(track, rows, solved, seeds)
    thoughts = [_thinking(thinking * chance.uniform(0.3, 1.7), chance) for _ in range(1000)]
    track.solutions.mkdir(exist_ok=True)
    track.rejudged.mkdir(exist_ok=True)
    with VerdictWriter(track.rejudged / "verdicts.parquet") as verdicts:
        for seed in range(seeds):
            with open(track.solutions / f"output-rs{seed}.jsonl", "wb") as out:
                for row, rate in zip(rows, solved, strict=True):
                    line, predicted, right = _solution(row, rate, seed, thoughts, chance)
                    out.write(line)
                    how = chance.choice(_TIERS) if predicted else "missing"
                    verdicts.add(row["id"], seed, predicted, row["expected_answer"], right, how)
    _write_manifests(track, seeds)
    return track


def _problem(number: int, chance: random.Random) -> dict[str, str]:
    a, b, c = chance.randrange(5, 200), chance.randrange(2, 90), chance.randrange(2, 12)
    text = chance.choice(_QUESTIONS).format(a=a, b=b, c=c)
    answer = chance.choice((str(a * b % 977), f"\\frac{{{a}}}{{{b + c}}}", str(a * a + b)))
    return {
        "id": files.content_id(text, str(number)),
        "problem": text,
        "expected_answer": answer,
        "problem_source": chance.choice(_SOURCES),
    }


def _thinking(length: float, chance: random.Random) -> str:
    steps = ["Let me work through this carefully.", "So we need to set up the equation first."]
    while sum(map(len, steps)) < length:
        steps.append(f"If I try $k = {chance.randrange(99)}$, I get {chance.randrange(9999)}; wait, check that again.")
    return " ".join(steps)


def _solution(
    row: dict[str, str], rate: float, seed: int, thoughts: list[str], chance: random.Random
) -> tuple[bytes, str | None, bool]:
    right = chance.random() < rate
    predicted = row["expected_answer"] if right else str(int(chance.expovariate(0.4)) * 7 + 3)
    cut = chance.random() < 0.04
    text = f"<think>\n{chance.choice(thoughts)}"
    if not cut:
        text += (
            f"\n</think>\n\n**Setting up.** Write the condition as $x \\equiv {seed} \\pmod {{{seed + 3}}}$, so that\n"
            f"\\[ S = \\sum_{{k=1}}^{{{seed + 4}}} k^2 = \\frac{{n(n+1)(2n+1)}}{{6}}. \\]\n\nTherefore the answer is "
            f"$\\boxed{{{predicted}}}$."
        )
    finish, tokens = ("length", 4096) if cut else ("stop", len(text) // 4)
    line = solution_line(row, seed=seed, generation=text, finish_reason=finish, num_generated_tokens=tokens)
    return line, None if cut else predicted, right and not cut


def _write_labels(track: Track, rows: list[dict[str, str]], solved: list[float], seeds: int) -> None:
    track.relabeled.mkdir(parents=True, exist_ok=True)
    kinds = {(True, True): "relabel", (True, False): "undecided"}
    decisions = [kinds.get((rate < 0.05, number % 3 == 0), "keep") for number, rate in enumerate(solved)]
    reasons = {"keep": "matched", "relabel": "majority", "undecided": "unsure"}
    table = pd.DataFrame(
        {
            "id": [row["id"] for row in rows],
            "expected_answer": [
                "3" if one == "relabel" else row["expected_answer"] for row, one in zip(rows, decisions, strict=True)
            ],
            "original_expected_answer": [row["expected_answer"] for row in rows],
            "decision": decisions,
            "reason": [reasons[one] for one in decisions],
            "votes": [round(rate * seeds) for rate in solved],
            "seeds": seeds,
            "tied": False,
            "agreement": solved,
            "confidence": [0.5 + rate / 2 for rate in solved],
        }
    )
    table.to_parquet(track.relabeled / "labels.parquet", index=False)


def _write_manifests(track: Track, seeds: int) -> None:
    counts = {"rows_in": 0, "rows_out": 0, "dropped": {}}
    solved = {"model": "made", "temperature": 0.6, "top_p": 0.95, "max_tokens": 4096, "num_seeds": seeds}
    exported = {
        "tokenizer": "chatml",
        "prompt_name": "math/solve",
        "text_part": "whole",
        "filters": Filters().as_parameters(),
    }
    for stage, parameters in (("solutions", solved), ("rejudged", {}), ("sft", exported)):
        files.write_json(track.folder / stage / "manifest.json", {"parameters": parameters, "counts": counts})


Sender = multiprocessing.connection.Connection


def measure_building(folder: Path, sender: Sender) -> None:
    """Index a run; send {what: seconds or MB} of this process."""
    begun = time.perf_counter()
    Site(Track(folder / "math", "math"))
    sender.send(
        {
            "build the index, s": time.perf_counter() - begun,
            "of which on the CPU, s": time.process_time(),
            "peak memory while building, MB": _memory(),
        }
    )


def measure_serving(folder: Path, sender: Sender) -> None:
    """Serve a run that has an index, and ask for everything; send {what: seconds or MB} of this process."""
    begun, found = time.perf_counter(), dict[str, float]()
    with serve(Site(Track(folder / "math", "math"))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        ask = _client(server.url)
        ask("api/run")
        ask("api/table")
        found["start with an index and first page, s"] = time.perf_counter() - begun
        for name, path in _REQUESTS.items():
            found[f"{name}, s"] = statistics.median(_timed(lambda path=path: ask(path)) for _ in range(5))
        server.shutdown()
    found["peak memory of the server, MB"] = _memory()
    sender.send(found)


_REQUESTS = {
    "page": "api/table",
    "filter: solved in half or less": "api/table?pass_rate.max=0.5",
    "filter: dropped as incorrect": "api/table?dropped=incorrect",
    "filter: relabeled, judged by a model": "api/table?decision=relabel&tiers=model",
    "sort by confidence": "api/table?sort=confidence",
    "last page by tokens": "api/table?sort=-tokens&page=5999",
    "search a word": "api/table?text=marbles",
    "search for nothing": "api/table?text=no+such+words",
    "filters, search and sort": "api/table?pass_rate.max=0.5&dropped=incorrect&source=aops&text=triangle&sort=-tokens",
    "one problem with its solutions": "api/problem?position=123",
    "the docket of the court": "api/docket",
}


def _client(url: str) -> Callable[[str], object]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str) -> object:
        with opener.open(url + path) as response:
            return json.load(response)

    return ask


def _timed(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Make a run and measure, or only make it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=300_000)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--thinking", type=int, default=300, help="characters of a solution's thinking")
    parser.add_argument("--measure", type=Path, metavar="RUN", help="only measure this run's folder")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="only make the run there")
    words = parser.parse_args()
    if words.make:
        make_run(words.make, words.problems, words.seeds, words.thinking)
        return
    if words.measure:
        report(words.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "made"
        begun = time.perf_counter()
        make_run(run, words.problems, words.seeds, words.thinking)
        size = files.folder_bytes(run) / 1e9
        print(f"made {words.problems:,} problems x {words.seeds}: {size:.1f} GB in {time.perf_counter() - begun:.0f} s")
        report(run)


def report(run: Path) -> None:
    """Measure and print; building and serving in processes of their own, so that each has its own memory."""
    context = multiprocessing.get_context("spawn")
    for measure in (measure_building, measure_serving):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=measure, args=(run, sender))
        process.start()
        sender.close()  # so that a process that fails is noticed
        for name, value in receiver.recv().items():
            print(f"{value:10.3f}  {name}", flush=True)
        process.join()
    print(f"{(run / '.browser' / 'math.sqlite').stat().st_size / 1e6:10.0f}  size of the index, MB")


if __name__ == "__main__":
    main()
