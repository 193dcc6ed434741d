"""A whole run of the math track without notebooks: the stages that they call, in their order, in a run's folder."""

import hashlib

from sdg_helpers import files, runs
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.genselect import Rules, draw_comparisons, judge_picks
from sdg_helpers.judging import Judge, judge_solutions, rejudge_solutions
from sdg_helpers.labels import RelabelRule, relabel_problems
from sdg_helpers.problems import download_problems
from sdg_helpers.prompts import load_prompt
from sdg_helpers.runs import repair
from sdg_helpers.sft import ChatTemplate, DatasetCard, RowFormat, export_sft
from sdg_helpers.solutions import generate_solutions
from tests.helpers.solving import HOSTILE, endpoint_server

LIMITS = Limits(concurrency=8, timeout_s=1.0, max_retries=30, outage_deadline_s=20)
STAGES = tuple(info.name for info in runs.STAGES["math"] if info.name != "checkpoint")
ANY_ORDER = ("comparisons.jsonl",)  # stores of verdicts: the same rows, in the order of the replies


def write_source(path, count):
    """Write `count` problems; every fourth is stated twice, and every fifth has a wrong reference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        for number in range(count):
            text = HOSTILE if number == 1 else f"What is {number + 2} / {number * 7 % 11 + 3}?"
            right = f"\\frac{{{number + 2}}}{{{number * 7 % 11 + 3}}}"
            row = {"problem": text, "expected_answer": "77" if number % 5 == 4 else right, "problem_source": "made up"}
            out.write(files.dumps(row) * (2 if number % 4 == 0 else 1))
    return path


def run_stages(folder, source, base_url, seeds, upto="genselect_sft", max_tokens=200):
    """Do or resume the stages up to one of them, as `sdg run` does; raises what a stage raises."""
    for name in STAGES[: STAGES.index(upto) + 1]:
        _DO[name](_Setting(folder, source, base_url, seeds, max_tokens))


def run_after_repair(folder, source, base_url, seeds):
    """Do what `sdg repair` does after it has set stages back: drop what became outdated, and run on."""
    for info in runs.STAGES["math"]:
        repair.drop_outdated(folder, "math", [info])
        if info.name in _DO:
            _DO[info.name](_Setting(folder, source, base_url, seeds))


class _Setting:
    """What the stages of one run share."""

    def __init__(self, folder, source, base_url, seeds, max_tokens=200):
        self.track, self.source, self.seeds = runs.Track(folder / "math", "math"), source, seeds
        self.max_tokens = max_tokens
        self.open_server = lambda: endpoint_server(base_url)
        self.problems = self.track.problems / "problems.jsonl"
        self.judge = Judge(self.open_server, "standin", load_prompt("math/judge"), LIMITS)

    def solve(self, problems, stage, prompt, seeds):
        return generate_solutions(
            problems,
            self.track.stage(stage),
            open_server=self.open_server,
            model="standin",
            prompt=load_prompt(prompt),
            num_seeds=seeds,
            sampling=Sampling(0.6, 0.95, self.max_tokens),
            limits=LIMITS,
        )

    def export(self, solutions, verdicts, stage, **more):
        return export_sft(
            self.track.stage(solutions),
            getattr(self.track, verdicts) / "verdicts.parquet",
            self.track.stage(stage),
            row_format=RowFormat(load_prompt("math/solve"), ChatTemplate("chatml"), ["input_output", "messages"]),
            card=DatasetCard("chaos", "cc0-1.0"),
            **more,
        )

    def labels(self):
        return self.track.relabeled / "labels.parquet"


def _rejudge(s):
    s.track.require("judged", "relabeled")
    rejudge_solutions(s.track.stage("judged"), s.labels(), s.problems, s.track.stage("rejudged"), judge=s.judge)


def _relabel(s):
    rule = RelabelRule("majority")
    relabel_problems(s.track.judged / "verdicts.parquet", s.problems, s.track.stage("relabeled"), rule)


def _draw(s):
    verdicts, rules = s.track.rejudged / "verdicts.parquet", Rules(min_candidates=2, max_comparisons=2)
    draw_comparisons(
        s.track.stage("solutions"), verdicts, s.problems, s.track.stage("genselect_comparisons"), rules=rules
    )


def _pick(s):
    comparisons = s.track.genselect_comparisons / "comparisons.jsonl"
    judge_picks(comparisons, s.track.stage("genselect_solutions"), s.track.stage("genselect_picks"))


_DO = {
    "problems": lambda s: download_problems(s.track.stage("problems"), source=str(s.source)),
    "solutions": lambda s: s.solve(s.problems, "solutions", "math/solve-few-shot", s.seeds),
    "judged": lambda s: judge_solutions(s.track.stage("solutions"), s.problems, s.track.stage("judged"), judge=s.judge),
    "relabeled": _relabel,
    "rejudged": _rejudge,
    "sft": lambda s: s.export("solutions", "rejudged", "sft", labels=s.labels(), rl_problems=s.problems),
    "genselect_comparisons": _draw,
    "genselect_solutions": lambda s: s.solve(
        s.track.genselect_comparisons / "comparisons.jsonl", "genselect_solutions", "math/genselect", 1
    ),
    "genselect_picks": _pick,
    "genselect_sft": lambda s: s.export(
        "genselect_solutions", "genselect_picks", "genselect_sft", track="genselect", filters={"trim_solutions": False}
    ),
}


def contents(folder):
    """Return the digest of every output of every finished stage, by stage and name."""
    found = {}
    for name in STAGES:
        stage = folder / "math" / name
        for output in (files.read_json(stage / "manifest.json") or {}).get("outputs", {}):
            data = (stage / output).read_bytes()
            if output in ANY_ORDER and name.endswith("judged"):
                data = b"".join(sorted(data.splitlines(keepends=True)))
            found[f"{name}/{output}"] = hashlib.blake2b(data).hexdigest()
    return found


def counts(folder):
    """Return every finished stage's counts, by its name."""
    manifests = ((name, files.read_json(folder / "math" / name / "manifest.json")) for name in STAGES)
    return {name: manifest["counts"] for name, manifest in manifests if manifest}
