"""How time and memory of the stages grow with the number of problems, against a stand-in server that answers at once.

    python -m bench.scale                                # 50,000 and 200,000 problems, 4 seeds
    python -m bench.scale --problems 1000 4000 --seeds 2 --size 200

Every stage runs in a process of its own; its peak memory is the kernel's own figure (VmHWM). The last columns compare
the largest with the smallest size: seconds grow as rows ** exponent.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sdg_helpers import files
from tests.helpers.standin import StandIn

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


def measure(stage: str, run: Path, base_url: str, num_seeds: int) -> dict[str, float]:
    start = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench.scale",
            "--stage",
            stage,
            "--run",
            str(run),
            "--url",
            base_url,
            "--seeds",
            str(num_seeds),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{stage}: {done.stderr[-2000:]}")
    return {"seconds": time.monotonic() - start, "peak_mb": json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--size", type=int, default=1000, help="characters of thinking a solution")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_stage(options.stage, options.run, options.url, options.seeds)
        peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(int(peak[1]) / 1024)
        return
    results: dict[str, list[dict[str, float]]] = {stage: [] for stage in STAGES}
    for count in options.problems:
        with tempfile.TemporaryDirectory() as folder, StandIn(size=options.size, accuracy=0.8) as server:
            write_problems(Path(folder), count)
            for stage in STAGES:
                results[stage].append(measure(stage, Path(folder), server.base_url, options.seeds))
                print(count, stage, {name: round(value, 1) for name, value in results[stage][-1].items()}, flush=True)
    report(options.problems, results)


def report(sizes: list[int], results: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n{'stage':<10}" + "".join(f"{size:>12,} s{'MB':>8}" for size in sizes) + "   exponent   more MB")
    for stage, rows in results.items():
        first, last = rows[0], rows[-1]
        exponent = math.log(last["seconds"] / first["seconds"]) / math.log(sizes[-1] / sizes[0]) if len(rows) > 1 else 0
        print(
            f"{stage:<10}"
            + "".join(f"{row['seconds']:>14.1f}{row['peak_mb']:>8.0f}" for row in rows)
            + f"{exponent:>11.2f}{last['peak_mb'] - first['peak_mb']:>10.0f}"
        )


if __name__ == "__main__":
    main()
