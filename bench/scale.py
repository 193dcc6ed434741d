"""How time and memory of the stages grow with the number of problems, against a stand-in server that answers at once.

    python -m bench --only scale             # 50,000 and 200,000 problems
    python -m bench --only scale --quick     # 1,000 and 4,000

Every stage runs in a process of its own; its peak memory is the kernel's own figure (VmHWM). CPU time grows
as rows ** exponent.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import targets
from bench.results import Figure, Part
from sdg_helpers import files
from tests.helpers.standin import StandIn

SIZES, SEEDS, CHARACTERS = (50_000, 200_000), 4, 1000
STAGES = ("solve", "judge", "relabel", "rejudge", "export")


def run_stage(stage: str, run: Path, base_url: str, num_seeds: int) -> None:
    """One stage of the math track, as its notebook calls it."""

    from sdg_helpers.completions.types import Limits, Sampling
    from sdg_helpers.judging import Judge, judge_solutions, rejudge_solutions
    from sdg_helpers.labels.relabel import relabel_problems
    from sdg_helpers.prompts import load_prompt
    from sdg_helpers.runs.run import Track
    from sdg_helpers.serving.server import Server
    from sdg_helpers.sft import DatasetCard, RowFormat, export_sft
    from sdg_helpers.solutions.generate import generate_solutions

    math = Track(run, "math")
    problems = math.problems / "problems.jsonl"
    server = {
        "open_server": lambda: Server(base_url, "standin", "endpoint", "none"),
        "model": "standin",
        "limits": Limits(256),
    }
    judge = Judge(**server, prompt=load_prompt("math/judge"))
    if stage == "solve":
        generate_solutions(
            problems,
            math.stage("solutions"),
            prompt=load_prompt("math/solve"),
            num_seeds=num_seeds,
            sampling=Sampling(0.6, 0.95, 4096),
            **server,
        )
    elif stage == "judge":
        judge_solutions(math.stage("solutions"), problems, math.stage("judged"), judge=judge)
    elif stage == "relabel":
        relabel_problems(math.judged / "verdicts.parquet", problems, math.stage("relabeled"))
    elif stage == "rejudge":
        rejudge_solutions(
            math.stage("judged"),
            math.relabeled / "labels.parquet",
            problems,
            math.stage("rejudged"),
            judge=judge,
        )
    else:
        export_sft(
            math.stage("solutions"),
            math.rejudged / "verdicts.parquet",
            math.stage("sft"),
            row_format=RowFormat(load_prompt("math/solve")),
            card=DatasetCard("bench", "cc0-1.0"),
        )


def write_problems(run: Path, count: int) -> None:
    """Arithmetic, a tenth of it with a wrong reference."""
    (run / "problems").mkdir(parents=True)
    with open(run / "problems" / "problems.jsonl", "wb") as out:
        for number in range(count):
            text = f"What is {number} + {number * 7 % 1000}?"
            truth = number + number * 7 % 1000 + (number % 10 == 0) * 5
            out.write(
                files.dumps(
                    {
                        "id": files.content_id(text),
                        "problem": text,
                        "expected_answer": str(truth),
                        "problem_type": "has_answer_extracted",
                        "problem_source": "bench",
                    }
                )
            )


def run_apart(stage: str, run: Path, base_url: str, num_seeds: int) -> dict[str, float]:
    """Do a stage in a process of its own; return cpu_s, wall_s and peak_mb."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    words = ["--stage", stage, "--run", str(run), "--url", base_url, "--seeds", str(num_seeds)]
    done = subprocess.run([sys.executable, "-m", "bench.scale", *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{stage}: {done.stderr[-2000:]}")
    wall_s, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": json.loads(done.stdout.splitlines()[-1])}


def measure(quick: bool) -> Part:
    """Do every stage at two sizes. quick: a fiftieth of them."""
    sizes = [size // 50 for size in SIZES] if quick else list(SIZES)
    results = grow(sizes, SEEDS, CHARACTERS)
    part = Part(
        notes=[f"{sizes[0]:,} and {sizes[1]:,} problems, {SEEDS} solutions each, of {CHARACTERS:,} characters."]
    )
    for stage, (few, many) in results.items():
        exponent = math.log(many["cpu_s"] / few["cpu_s"]) / math.log(sizes[1] / sizes[0])
        part.figures += [
            *(Figure(stage, f"CPU s at {size:,}", one["cpu_s"]) for size, one in zip(sizes, (few, many), strict=True)),
            Figure(stage, "exponent", exponent, targets.GROWTH),
            Figure(stage, f"wall s at {sizes[1]:,}", many["wall_s"]),
            Figure(stage, f"peak MB at {sizes[1]:,}", many["peak_mb"]),
            Figure(stage, "more MB", many["peak_mb"] - few["peak_mb"]),
        ]
    return part


def grow(sizes: Sequence[int], seeds: int, characters: int) -> dict[str, list[dict[str, float]]]:
    """Return cpu_s, wall_s and peak_mb of each stage for each number of problems."""
    results: dict[str, list[dict[str, float]]] = {stage: [] for stage in STAGES}
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder, StandIn(size=characters, accuracy=0.8) as server:
            write_problems(Path(folder), count)
            for stage in STAGES:
                results[stage].append(run_apart(stage, Path(folder), server.base_url, seeds))
                print(count, stage, {name: round(value, 1) for name, value in results[stage][-1].items()}, flush=True)
    return results


def main() -> None:
    """Do one stage, for `run_apart`; print its peak memory in MB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seeds", type=int, required=True)
    options = parser.parse_args()
    run_stage(options.stage, options.run, options.url, options.seeds)
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(int(peak[1]) / 1024)


if __name__ == "__main__":
    main()
