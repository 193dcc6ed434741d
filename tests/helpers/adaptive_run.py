"""A run whose solutions are generated in rounds, against the scripted server."""

from functools import partial

from bench.bad_days import OpenServer
from sdg_helpers import runs
from sdg_helpers.adaptive import AdaptiveRule, solve_problems
from sdg_helpers.adaptive.pass_rates import stopped_path
from sdg_helpers.completions.types import Sampling
from sdg_helpers.judging import Judge, judge_solutions
from sdg_helpers.problems import download_problems
from sdg_helpers.prompts import load_prompt
from sdg_helpers.solutions import generate_solutions
from tests.helpers.whole_run import LIMITS, write_source

RULE = AdaptiveRule(target=3, first=3)
CAP = 10


class Adaptive:
    """A run whose solutions are generated in rounds."""

    def __init__(self, folder, server, jobs=None):
        """jobs: solves and judges in these Slurm jobs."""
        self.track, self.server = runs.Track(folder / "math", "math"), server
        self.problems = self.track.problems / "problems.jsonl"
        open_server = OpenServer(server.base_url)
        self.judge = Judge(open_server, "standin", load_prompt("math/judge"), LIMITS)
        self.settings = {
            "open_server": open_server,
            "model": "standin",
            "prompt": load_prompt("math/solve"),
            "num_seeds": CAP,
            "sampling": Sampling(0.6, 0.95, 200),
            "limits": LIMITS,
            "jobs": jobs,
        }
        download_problems(self.track.stage("problems"), source=str(write_source(folder / "source.jsonl", 30)))

    def judged(self, stage, **more):
        return judge_solutions(
            self.track.stage("solutions"), self.problems, stage, judge=self.judge, jobs=self.settings["jobs"], **more
        )

    def solve(self):
        solutions = self.track.stage("solutions")
        solve = partial(generate_solutions, self.problems, solutions, **self.settings)
        return solve_problems("adaptive", solve, self.judged, self.problems, solutions, num_seeds=CAP, rule=RULE)

    def contents(self):
        paths = sorted(self.track.solutions.glob("output-rs*.jsonl")) + [stopped_path(self.track.stage("solutions"))]
        return {path.name: path.read_bytes() for path in paths}
