"""What the stages that ask no model cost, beside what it costs merely to parse the same rows.

    python -m bench --only stages                            # all of it: half an hour
    python -m bench --only stages --quick                    # a sixteenth of the size
    python -m bench.stages --size 8 --jobs parse export    # 8 GB of solutions

Every job is a process of its own, all jobs take turns, and medians count. Times are of the processor, without that of
starting Python and importing.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

import orjson

from bench import targets
from bench.results import Figure, Part, table
from sdg_helpers.runs.run import Track
from sdg_helpers.stages import Stage

JOBS = ("parse", "export", "relabel", "rejudge")
_SEEDS, _CHARACTERS = 16, 32_000
_PROBLEMS, _JUDGED = 2000, 312_500  # 1.1 GB of solutions; 5,000,000 verdicts
_CPU = {"relabel": targets.RELABEL_CPU, "rejudge": targets.REJUDGE_CPU}
_PEAK = {"export": targets.STAGE_MEMORY, "relabel": targets.STAGE_MEMORY}


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


def run_apart(job: str, run: Path) -> dict[str, float]:
    """Do a job in a process of its own; return cpu_s, wall_s and peak_mb."""
    with tempfile.TemporaryDirectory(dir=run) as out:
        command = [sys.executable, "-m", "bench.stages", "--job", job, "--run", str(run), "--out", out]
        begun = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return {**json.loads(done.stdout.splitlines()[-1]), "wall_s": time.perf_counter() - begun}


def compare(jobs: Collection[str], size: float, rounds: int) -> list[Figure]:
    """Let the jobs take turns; return their figures. size: a multiple of the full one, to which times are scaled."""
    results: dict[str, list[dict[str, float]]] = {job: [] for job in jobs}
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder), jobs, size)
        for _ in range(rounds):
            for job in jobs:
                results[job].append(run_apart(job, Path(folder)))
                print(job, {name: round(value, 2) for name, value in results[job][-1].items()}, flush=True)
    cpu = {job: statistics.median(one["cpu_s"] for one in runs) / size for job, runs in results.items()}
    figures = []
    for job, runs in results.items():
        subject = f"{job}, {_describe(job, size)}"
        figures += [
            Figure(subject, "CPU s at full size", cpu[job], _CPU.get(job)),
            Figure(subject, "peak MB", max(one["peak_mb"] for one in runs), _PEAK.get(job)),
        ]
        if job == "export" and "parse" in cpu:
            figures.append(Figure(subject, "× floor", cpu["parse"] / cpu["export"], targets.EXPORT_SPEED))
    return figures


def _describe(job: str, size: float) -> str:
    if job in ("parse", "export"):
        return f"{_PROBLEMS * _SEEDS * _CHARACTERS * size / 1e9:.2g} GB"
    return f"{_JUDGED * _SEEDS * size:,.0f} verdicts"


def measure(quick: bool) -> Part:
    """Do all jobs, and parse and export 8 GB too. quick: a sixteenth of the size, one round."""
    note = (
        f"Full size: {_PROBLEMS:,} problems with {_SEEDS} solutions of {_CHARACTERS:,} characters; 5,000,000 verdicts."
    )
    if quick:
        return Part(compare(JOBS, 1 / 16, 1), [f"{note} One round."])
    figures = [*compare(JOBS, 1, 3), *compare(("parse", "export"), 8, 1)]
    return Part(figures, [f"{note} Medians of 3; of 8 GB, one round."])


def main() -> None:
    """Do one job, for `run_apart`, and print what it used; or compare jobs of any size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=float, default=1.0, help="multiple of the full size")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS, help="default: all")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    for name in ("--run", "--out"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        used = run_job(options.job, options.run, options.out)
        peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(json.dumps({"cpu_s": used, "peak_mb": int(peak[1]) / 1024}))
    else:
        print("\n".join(["", *table(compare(options.jobs, options.size, options.rounds))]))


if __name__ == "__main__":
    main()
