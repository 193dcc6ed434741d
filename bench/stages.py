"""What the stages that ask no model cost, beside what it costs merely to parse the same rows.

    python -m bench.stages              # 1.1 GB of solutions, 5,000,000 verdicts: half an hour
    python -m bench.stages --quick      # a sixteenth of it
    python -m bench.stages --results bench/RESULTS.md

Every job is a process of its own, all jobs take turns, and medians count. Times are of the processor, without that of
starting Python and importing. The exit code is 1 when a target is missed; a quick run, in which fixed costs weigh
more, only shows the table.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import orjson

from sdg_helpers.runs.run import Track
from sdg_helpers.stages import Stage

JOBS = ("parse", "export", "relabel", "rejudge")
_SEEDS, _CHARACTERS = 16, 32_000
_PROBLEMS, _JUDGED = 2000, 312_500  # 1.1 GB of solutions; 5,000,000 verdicts
_MAX_MB = 400


def run_job(job: str, run: Path, out: Path) -> float:
    """Do one job; return its seconds of CPU time. The folders hold what `write_runs` wrote."""
    from sdg_helpers.completions.types import Limits
    from sdg_helpers.judging import Judge, rejudge_solutions
    from sdg_helpers.labels.relabel import relabel_problems
    from sdg_helpers.prompts import load_prompt
    from sdg_helpers.sft import DatasetCard, RowFormat, export_sft

    text, judged = Track(run / "text", "math"), Track(run / "judged", "math")
    problems = judged.problems / "problems.jsonl"
    begun = _cpu_s()
    if job == "parse":
        for path in text.solutions.glob("output-rs*.jsonl"):
            with open(path, "rb", buffering=1 << 20) as file:
                for line in file:
                    orjson.loads(line)
    elif job == "export":
        row_format, card = RowFormat(load_prompt("math/solve")), DatasetCard("bench", "cc0-1.0")
        verdicts = text.judged / "verdicts.parquet"
        export_sft(text.stage("solutions"), verdicts, Stage(out / "sft", "sft"), row_format=row_format, card=card)
    elif job == "relabel":
        relabel_problems(judged.judged / "verdicts.parquet", problems, Stage(out / "relabeled", "relabeled"))
    else:  # without a server: what the rules leave to a model stays undecided
        judge = Judge(lambda: None, "none", load_prompt("math/judge"), Limits(8))
        labels, stage = run / "relabeled" / "labels.parquet", Stage(out / "rejudged", "rejudged")
        rejudge_solutions(judged.stage("judged"), labels, problems, stage, judge=judge, max_failed_fraction=1.0)
    return _cpu_s() - begun


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def write_runs(folder: Path, problems: int, judged: int) -> None:
    """Write a run with long texts, one with many verdicts, and the latter's labels."""
    from bench import synthetic
    from sdg_helpers.labels.relabel import relabel_problems

    text, many = Track(folder / "text", "math"), Track(folder / "judged", "math")
    synthetic.write_problems(text, problems)
    synthetic.write_solutions(text, problems, _SEEDS, _CHARACTERS)
    synthetic.write_verdicts(text, problems, _SEEDS)
    path = synthetic.write_problems(many, judged)
    relabel_problems(synthetic.write_verdicts(many, judged, _SEEDS), path, Stage(folder / "relabeled", "relabeled"))


def measure(job: str, run: Path) -> dict[str, float]:
    """Do a job in a process of its own; return cpu_s, wall_s and peak_mb."""
    with tempfile.TemporaryDirectory(dir=run) as out:
        command = [sys.executable, "-m", "bench.stages", "--job", job, "--run", str(run), "--out", out]
        begun = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return {**json.loads(done.stdout.splitlines()[-1]), "wall_s": time.perf_counter() - begun}


def rows_of(results: dict[str, list[dict[str, float]]], share: float) -> list[tuple[str, float, str, bool]]:
    """Return (what, value, target, met) for the table. share: of the full size, by which the times are scaled."""
    cpu = {job: statistics.median(one["cpu_s"] for one in runs) for job, runs in results.items()}
    peak = {job: max(one["peak_mb"] for one in runs) for job, runs in results.items()}
    ratio = cpu["parse"] / cpu["export"]
    relabel, rejudge = cpu["relabel"] / share, cpu["rejudge"] / share
    return [
        ("export, × the rate of parsing", ratio, ">= 0.6", ratio >= 0.6),
        ("export, MB", peak["export"], f"<= {_MAX_MB}", peak["export"] <= _MAX_MB),
        ("relabel 5,000,000 verdicts, CPU s", relabel, "<= 12", relabel <= 12),
        ("relabel, MB", peak["relabel"], f"<= {_MAX_MB}", peak["relabel"] <= _MAX_MB),
        ("judge 5,000,000 answers by rules, CPU s", rejudge, "<= 120", rejudge <= 120),
    ]


def main() -> int:
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the size, one round")
    parser.add_argument("--results", type=Path, help="append the table to this file")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    for name in ("--run", "--out"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        used = run_job(options.job, options.run, options.out)
        peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(json.dumps({"cpu_s": used, "peak_mb": int(peak[1]) / 1024}))
        return 0
    parts = 16 if options.quick else 1
    results: dict[str, list[dict[str, float]]] = {job: [] for job in JOBS}
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder), _PROBLEMS // parts, _JUDGED // parts)
        for _ in range(1 if options.quick else options.rounds):
            for job in JOBS:
                results[job].append(measure(job, Path(folder)))
                print(job, {name: round(value, 2) for name, value in results[job][-1].items()}, flush=True)
    found = rows_of(results, 1 / parts)
    lines = ["| What | Median | Target | |", "|---|---|---|---|"]
    lines += [f"| {what} | {value:,.2f} | {target} | {'' if met else 'missed'} |" for what, value, target, met in found]
    print("\n" + "\n".join(lines))
    if options.results:
        size = "a sixteenth of the size" if options.quick else "full size"
        with open(options.results, "a") as file:
            file.write(f"\n## {date.today()}, {platform.processor() or platform.machine()}, {size}\n\n")
            file.write("\n".join(lines) + "\n")
    return 0 if options.quick or all(met for *_, met in found) else 1


if __name__ == "__main__":
    sys.exit(main())
