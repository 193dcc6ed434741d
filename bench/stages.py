"""What the stages that ask no model cost, beside what it costs merely to parse the same rows.

    python -m bench.stages              # 1.1 GB of solutions, 5,000,000 verdicts: half an hour
    python -m bench.stages --quick      # a sixteenth of it
    python -m bench.stages --size 7.5 --jobs parse export    # 8 GB of solutions
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
from collections.abc import Collection
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
    import jinja2.sandbox  # noqa: F401  (with pyarrow.dataset: imported by the export on first use)
    import pyarrow.dataset  # noqa: F401

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


def write_runs(folder: Path, jobs: Collection[str], size: float) -> None:
    """Write what the jobs need: a run with long texts, and one with many verdicts and their labels."""
    from bench import synthetic
    from sdg_helpers.labels.relabel import relabel_problems

    text, many = Track(folder / "text", "math"), Track(folder / "judged", "math")
    problems, judged = round(_PROBLEMS * size), round(_JUDGED * size)
    if {"parse", "export"} & {*jobs}:
        synthetic.write_problems(text, problems)
        synthetic.write_solutions(text, problems, _SEEDS, _CHARACTERS)
        synthetic.write_verdicts(text, problems, _SEEDS)
    if {"relabel", "rejudge"} & {*jobs}:
        path = synthetic.write_problems(many, judged)
        relabel_problems(synthetic.write_verdicts(many, judged, _SEEDS), path, Stage(folder / "relabeled", "relabeled"))


def measure(job: str, run: Path) -> dict[str, float]:
    """Do a job in a process of its own; return cpu_s, wall_s and peak_mb."""
    with tempfile.TemporaryDirectory(dir=run) as out:
        command = [sys.executable, "-m", "bench.stages", "--job", job, "--run", str(run), "--out", out]
        begun = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return {**json.loads(done.stdout.splitlines()[-1]), "wall_s": time.perf_counter() - begun}


def rows_of(results: dict[str, list[dict[str, float]]], size: float) -> list[tuple[str, float, str, bool]]:
    """Return (what, value, target, met) for the table. size: by which the times are divided."""
    cpu = {job: statistics.median(one["cpu_s"] for one in runs) for job, runs in results.items()}
    peak = {job: max(one["peak_mb"] for one in runs) for job, runs in results.items()}
    rows = []
    if {"parse", "export"} <= cpu.keys():
        ratio = cpu["parse"] / cpu["export"]
        rows.append(("export, × the rate of parsing", ratio, ">= 0.6", ratio >= 0.6))
        rows.append(("export, MB", peak["export"], f"<= {_MAX_MB}", peak["export"] <= _MAX_MB))
    if "relabel" in cpu:
        relabel = cpu["relabel"] / size
        rows.append(("relabel 5,000,000 verdicts, CPU s", relabel, "<= 12", relabel <= 12))
        rows.append(("relabel, MB", peak["relabel"], f"<= {_MAX_MB}", peak["relabel"] <= _MAX_MB))
    if "rejudge" in cpu:
        rejudge = cpu["rejudge"] / size
        rows.append(("judge 5,000,000 answers by rules, CPU s", rejudge, "<= 120", rejudge <= 120))
    return rows


def main() -> int:
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the size, one round")
    parser.add_argument("--size", type=float, default=1.0, help="multiple of the full size")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS, help="default: all")
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
    size = 1 / 16 if options.quick else options.size
    results: dict[str, list[dict[str, float]]] = {job: [] for job in options.jobs}
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder), options.jobs, size)
        for _ in range(1 if options.quick else options.rounds):
            for job in options.jobs:
                results[job].append(measure(job, Path(folder)))
                print(job, {name: round(value, 2) for name, value in results[job][-1].items()}, flush=True)
    found = rows_of(results, size)
    lines = ["| What | Median | Target | |", "|---|---|---|---|"]
    lines += [f"| {what} | {value:,.2f} | {target} | {'' if met else 'missed'} |" for what, value, target, met in found]
    print("\n" + "\n".join(lines))
    if options.results:
        machine = platform.processor() or platform.machine()
        with open(options.results, "a") as file:
            file.write(f"\n## {date.today()}, {machine}, {size:g} × the full size\n\n")
            file.write("\n".join(lines) + "\n")
    return 0 if options.quick or all(met for *_, met in found) else 1


if __name__ == "__main__":
    sys.exit(main())
