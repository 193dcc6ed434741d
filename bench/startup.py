"""What commands cost that have little to do: `sdg params`, `sdg status` of a large run, `sdg run` of a finished one.

    python -m bench --only startup

The finished run is the whole math track with a scripted model, which is gone when the run is repeated.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import synthetic, targets
from bench.results import ROOT, Figure, Part
from sdg_helpers.profiles import load_profile
from sdg_helpers.runs import history
from sdg_helpers.runs.run import Track
from tests.helpers.clone import environment
from tests.helpers.standin import StandIn

PROBLEMS, SEEDS = 312_500, 16  # 5,000,000 rows
COMMANDS = {
    "python -c pass": (["-c", "pass"], None),
    "sdg params math": (["-m", "sdg_helpers.cli", "params", "math"], targets.PARAMS_CPU),
    "sdg status large": (["-m", "sdg_helpers.cli", "status", "large"], targets.STATUS_CPU),
    "sdg run --run finished": (["-m", "sdg_helpers.cli", "run", "--run", "finished"], targets.FINISHED_RUN_CPU),
}
_PROFILE = """\
description: a scripted model
servers:
  solver: {{engine: endpoint, model: standin, base_url: "{url}"}}
"""


def measure(quick: bool) -> Part:
    """Make both runs, then let the commands take turns. quick: a sixteenth of the large run, one round."""
    problems, rounds = (PROBLEMS // 16, 1) if quick else (PROBLEMS, 5)
    used: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        env = {**environment(), "SDG_OUTPUTS": folder, "HF_HUB_OFFLINE": "1"}
        write_large_run(Path(folder), problems)
        finish_run(Path(folder), env)
        for _ in range(rounds):
            for name, (words, _) in COMMANDS.items():
                used[name].append(time_command(words, env))
    figures = []
    for name, (_, target) in COMMANDS.items():
        cpu_s, wall_s = map(statistics.median, zip(*used[name], strict=True))
        figures += [Figure(name, "CPU s", cpu_s, target), Figure(name, "wall s", wall_s)]
    note = f"The large run has {problems * SEEDS:,} solutions and verdicts; the finished one is the whole math track."
    return Part(figures, [f"{note} Medians of {rounds}, after one warm-up."])


def write_large_run(outputs: Path, problems: int) -> None:
    """Write problems, short solutions and verdicts of a run named large."""
    history.begin(outputs / "large", load_profile("demo"))
    track = Track(outputs / "large/math", "math")
    synthetic.write_problems(track, problems)
    synthetic.write_solutions(track, problems, SEEDS, 0)
    synthetic.write_verdicts(track, problems, SEEDS)


def finish_run(outputs: Path, env: dict[str, str]) -> None:
    """Execute the math track as a run named finished, and once more to warm up."""
    profile = outputs / "scripted.yaml"
    words = ["-m", "sdg_helpers.cli", "run", "--run", "finished"]
    with StandIn() as server:
        profile.write_text(_PROFILE.format(url=server.base_url))
        time_command([*words, "--profile", str(profile)], env)
    time_command(words, env)


def time_command(words: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Run Python with these words; return seconds of CPU (with all its processes) and by the clock.

    Raises RuntimeError when the command fails.
    """
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    wall_s, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s
