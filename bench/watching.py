"""`sdg watch` against a run with a slow, a restarting and a dead server, and how right its ETA is.

    python -m bench.watching               # needs root and slurm-wlm; five minutes

Six jobs of a private Slurm, each with SGLang's stand-in under real supervision. Server 1 answers four times slower,
that of server 2 is killed (SGLang restarts, loading for ten seconds), job 3 is killed for good. The view is printed
when a third is done, and the ETA of every two seconds is compared with what came true, from half-way on.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from sdg_helpers import cluster, files
from sdg_helpers.cluster.jobs import JobSpec
from sdg_helpers.completions.types import Limits
from sdg_helpers.serving.server_specs import SglangSpec
from tests.helpers.private_slurm import PrivateSlurm
from tests.helpers.solving import generate, write_problems
from tests.helpers.watching import eventually

SERVERS, SEEDS, CONCURRENCY = 6, 4, 32
SLOW, RESTARTING, DEAD = 1, 2, 3
STAND_IN = Path(__file__).resolve().parent.parent / "tests" / "helpers" / "sglang_standin"


class OpenSglang:
    """Opens SGLang's stand-in on whichever node; its faults are in a folder for each number of a job."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self):
        from sdg_helpers.serving.sglang.supervision import open_sglang

        faults = self.folder / "faults" / os.environ["SLURM_ARRAY_TASK_ID"]
        spec = SglangSpec(
            engine="sglang",
            model="org/model",
            served_model_name="standin",
            python=sys.executable,
            environment={"STANDIN": str(faults), "PYTHONPATH": str(STAND_IN)},
            canary_question="7+8",
            canary_expects=r"\{15\}",
            check_every_s=2,
        )
        return open_sglang(spec, self.folder / "servers")


def write_faults(run: Path, seconds: float) -> None:
    for number in range(SERVERS):
        folder = run / "faults" / str(number)
        folder.mkdir(parents=True)
        (folder / "slow").write_text(f"{seconds * (4 if number == SLOW else 1)} 0.4")


def run_stage(run: Path, errors: list[BaseException]) -> None:
    spec = JobSpec(
        where="slurm",
        servers=SERVERS,
        time_limit_min=30,
        poll_s=1,
        stop_before_limit_s=60,
        max_restarts=0,
        max_attempts=1,
    )
    try:
        generate(
            run / "problems.jsonl",
            run / "math" / "solutions",
            "",
            num_seeds=SEEDS,
            limits=Limits(CONCURRENCY, timeout_s=600),
            open_server=OpenSglang(run),
            jobs=spec,
        )
    except BaseException as error:
        errors.append(error)


def sdg(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "sdg_helpers.cli", *words], capture_output=True, text=True)
    return done.stdout + done.stderr


def pid_of_server(run: Path, number: int) -> int:
    return int((run / "faults" / str(number) / "starts").read_text().splitlines()[-1].split()[0])


def pid_of_job(stage: Path, number: int) -> int:
    return files.read_json(next((stage / "jobs" / "attempts").glob(f"{number:04d}-*-rank0.json")))["pid"]


def disturb(run: Path, stage: Path) -> None:
    """Kill the SGLang of one server, which then takes ten seconds to load, and the job of another one."""
    (run / "faults" / str(RESTARTING) / "load").write_text("10")
    os.kill(pid_of_server(run, RESTARTING), signal.SIGKILL)
    os.kill(pid_of_job(stage, DEAD), signal.SIGKILL)


def watch(stage: Path, thread: threading.Thread) -> list[tuple[float, float, float | None]]:
    """Return (time, share done, ETA) of every two seconds, until the stage ends."""
    from sdg_helpers.watching.stage_view import view_stage

    seen: list[tuple[float, float, float | None]] = []
    while thread.is_alive():
        if (stage / "progress.json").exists():
            view = view_stage(stage)
            if view.total and view.done < view.total:
                seen.append((time.monotonic(), view.done / view.total, view.eta_s))
            elif view.total:
                break
        time.sleep(2)
    return seen


def report(seen: list[tuple[float, float, float | None]], end: float) -> None:
    """Print how far the ETAs are from what came true."""
    print("| done | left, truly | ETA | error |\n|-:|-:|-:|-:|")
    errors = {}
    for at, share, eta in seen:
        truth = end - at
        if share >= 0.5 and eta is not None and truth > 0:
            errors[share] = (eta - truth, truth)
    for share, (off, truth) in list(errors.items())[:: max(1, len(errors) // 12)]:
        print(f"| {share:.0%} | {truth:.0f} s | {truth + off:.0f} s | {off / truth:+.0%} |")
    print(f"(blocks of {SEEDS} solutions a problem, {CONCURRENCY} in flight on each of {SERVERS} servers)")
    relative = np.array([abs(off / truth) for off, truth in errors.values()])
    bulk = np.array([abs(off / truth) for share, (off, truth) in errors.items() if share < 0.95])
    absolute = np.array([abs(off) for off, _ in errors.values()])
    print(
        f"from half-way on, {len(errors)} looks: {np.mean(relative <= 0.2):.0%} within 20 %, median "
        f"{np.median(relative):.0%}; until 95 % are done, worst {bulk.max():.0%}; at most {absolute.max():.0f} s off"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1400)
    parser.add_argument("--seconds", type=float, default=4.0, help="median of a reply (default: 4)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, slurm = Path(folder) / "math-1", PrivateSlurm(Path(folder) / "slurm", nodes=SERVERS).start()
        os.environ |= {"SLURM_CONF": str(slurm.conf), "SDG_OUTPUTS": folder}
        stage, errors = run / "math" / "solutions", []
        try:
            write_problems(run / "problems.jsonl", options.problems)
            (run / "run.yaml").write_text("run: math-1\n")
            write_faults(run, options.seconds)
            thread = threading.Thread(target=run_stage, args=(run, errors), daemon=True)
            thread.start()
            progress = stage / "progress.json"
            total = options.problems * SEEDS

            def reaches(share: float) -> bool:
                return eventually(lambda: (files.read_json(progress) or {}).get("done", 0) >= share * total, 600)

            assert reaches(0.25), errors
            disturb(run, stage)
            assert reaches(0.28), errors
            print(sdg("watch", "math-1"))
            assert reaches(0.35), errors
            print(sdg("watch", "math-1"))
            seen = watch(stage, thread)
            end = time.monotonic()
            thread.join(60)
            report(seen, end)
            print(sdg("watch", "math-1")[:3000], errors or "")
        finally:
            for job in cluster.live_jobs(stage):
                print("still live:", job)
            slurm.stop()


if __name__ == "__main__":
    main()
