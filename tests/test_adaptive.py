"""Adaptive sampling: the rule, its unbiased pass rates, and rounds of solving and judging that can be killed."""

import os
import signal
import sys
import time

import numpy as np
import pandas as pd
import pytest

from bench.adaptive_labels import compare, simulated
from sdg_helpers import files
from sdg_helpers.adaptive import AdaptiveRule, compare_with_uniform, first_round, rounds_store, savings, solve_problems
from sdg_helpers.adaptive.pass_rates import PassRates, read_pass_rates, stopped_path
from sdg_helpers.adaptive.rule import Prior, fit_prior
from sdg_helpers.errors import SdgError
from sdg_helpers.solutions import generate_solutions, read_solutions
from tests.helpers.adaptive_run import CAP, RULE, Adaptive
from tests.helpers.forks import exit_code, run_in_child
from tests.helpers.standin import StandIn


@pytest.mark.parametrize(
    ("seeds", "right", "agreeing", "expected"),
    [
        (4, 4, 4, (4, "target")),
        (16, 1, 5, (16, "cap")),
        (4, 0, 4, (8, "")),
        (8, 0, 8, (8, "settled")),
        (8, 0, 6, (10, "")),
        (8, 0, 4, (12, "")),
        (4, 3, 3, (6, "")),
        (6, 3, 3, (7, "")),
        (4, 0, 1, (8, "")),
        (12, 0, 2, (12, "too_hard")),
        (15, 1, 2, (16, "")),
    ],
)
def test_a_problem_gets_more_solutions_until_it_is_not_worth_it(seeds, right, agreeing, expected):
    assert AdaptiveRule().next(seeds, right, agreeing, 16, Prior(0.5, 0.5)) == expected


def test_wrong_rules_are_refused():
    with pytest.raises(SdgError, match="target must be a whole number, 1 or more, not 0"):
        AdaptiveRule(target=0)
    with pytest.raises(SdgError, match=r"min_rate must be between 0 and 1, not 2"):
        AdaptiveRule(min_rate=2)


@pytest.mark.parametrize("alike", [0.0, 0.9])
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_pass_rates_are_unbiased_although_problems_stop_when_they_succeed(rate, alike):
    """alike: share of the wrong solutions that make one and the same mistake."""
    rule, cap, prior, number = AdaptiveRule(), 16, Prior(0.5, 0.5), 20_000
    drawn = np.random.default_rng(7).random((number, cap))
    right, agreeing = ((drawn < rate).cumsum(axis=1), (drawn > 1 - alike * (1 - rate)).cumsum(axis=1))
    rates, estimates, naive = PassRates(rule, cap, prior), [], []
    for row, agree in zip(right.tolist(), agreeing.tolist(), strict=True):
        seeds, stopped = rule.first, ""
        while not stopped:
            seeds, stopped = rule.next(seeds, row[seeds - 1], agree[seeds - 1], cap, prior)
        known = rates.of(seeds, row[seeds - 1], agree[seeds - 1], row[rule.first - 1])
        assert known.samples in (rule.first, seeds)
        estimates.append(known.rate)
        naive.append(row[seeds - 1] / seeds)
    error = 4 * np.std(estimates) / number**0.5
    assert abs(np.mean(estimates) - rate) < error
    assert rate < 0.1 or alike or abs(np.mean(naive) - rate) > error  # what the run would show without it


@pytest.mark.parametrize(("seeds", "right"), [(4, 4), (5, 4), (9, 4)])
def test_one_solution_at_a_time_gives_the_estimate_of_inverse_binomial_sampling(seeds, right):
    class OneByOne(AdaptiveRule):
        def next(self, seeds, right, agreeing, cap, prior):
            return (seeds, "target") if right >= 4 else (seeds, "cap") if seeds >= cap else (seeds + 1, "")

    assert PassRates(OneByOne(first=1), 30, Prior()).of(seeds, right, 0, 0).rate == pytest.approx(3 / (seeds - 1))


def test_the_prior_is_fitted_to_the_first_round():
    rates = np.random.default_rng(3).beta(2, 5, 20_000)
    right = np.random.default_rng(4).binomial(8, rates)
    prior = fit_prior(
        {(8, int(value)): int(count) for value, count in zip(*np.unique(right, return_counts=True), strict=True)}
    )
    assert prior.right == pytest.approx(2, rel=0.1) and prior.wrong == pytest.approx(5, rel=0.1)
    assert fit_prior({}) == fit_prior({(4, 0): 9}) == Prior()


@pytest.mark.parametrize(("shape", "share"), [((0.5, 0.5), 0.6), ((3, 1), 0.45), ((1, 1), 0.6)])
def test_useful_solutions_cost_less_than_with_uniform_sampling(shape, share):
    rng = np.random.default_rng(5)
    table = compare_with_uniform(rng.random((4000, 16)) < rng.beta(*shape, (4000, 1)))
    generated, useful = table.iloc[:, 0], table.iloc[:, 1]
    assert generated["adaptive"] / useful["adaptive"] < share * generated["uniform"] / useful["uniform"]
    assert useful["adaptive"] > 0.98 * useful["uniform"]


@pytest.mark.parametrize("cluster", [0.05, 0.5])
def test_labels_are_as_good_as_those_of_as_many_uniform_solutions(tmp_path, cluster):
    """cluster: share of the wrong answers that repeat another one. A tenth of the references is wrong."""
    found = compare(simulated((0.5, 0.5), cluster, 1000), tmp_path)
    adaptive, whole, equal = found.values()
    assert adaptive.tokens <= equal.tokens  # which may have up to a tenth more
    assert adaptive.right_labels >= 0.94 * equal.right_labels and adaptive.right_rows >= 1.03 * equal.right_rows
    assert adaptive.wrong_labels <= whole.wrong_labels and adaptive.wrong_rows <= whole.wrong_rows
    assert adaptive.tokens / adaptive.right_rows <= 0.6 * whole.tokens / whole.right_rows


@pytest.fixture(scope="module")
def server():
    with StandIn(accuracy=0.5) as server:
        yield server


def test_each_problem_gets_as_many_solutions_as_it_needs(tmp_path, server):
    run = Adaptive(tmp_path, server)
    server.reset()
    manifest = run.solve()
    table = pd.read_parquet(stopped_path(run.track.stage("solutions")))
    assert set(table["stopped"]) <= {"target", "cap", "settled", "too_hard"} and table["stopped"].nunique() > 1
    assert table.loc[table["stopped"] == "target", "right"].ge(3).all() and table["seeds"].between(3, CAP).all()
    assert table["seeds"].sum() == manifest["counts"]["rows_in"] == manifest["counts"]["rows_out"]
    solved = pd.Series([row["id"] for row in read_solutions(run.track.solutions)]).value_counts()
    assert solved.to_dict() == table.set_index("id")["seeds"].to_dict()
    saved = savings(run.track.stage("solutions"), run.track.solutions / "rounds" / "verdicts.parquet", RULE)
    assert first_round(run.track.stage("solutions")) == RULE.first
    assert saved["solutions generated"].to_dict() == {"uniform": 30 * CAP, "adaptive": table["seeds"].sum()}
    asked = server.stats()["requests"]
    run.solve()
    manifest = run.judged(run.track.stage("judged"), earlier=rounds_store(run.track.stage("solutions")))
    assert server.stats()["requests"] == asked and manifest["counts"]["rows_in"] == table["seeds"].sum()


def test_pass_rates_of_an_adaptive_run_survive_other_verdicts(tmp_path, server):
    """With the verdicts that stopped a problem, its estimate; with others, the share of round one."""
    run = Adaptive(tmp_path, server)
    run.solve()
    solutions = run.track.stage("solutions")
    stopped = pd.read_parquet(stopped_path(solutions)).set_index("id")
    verdicts = run.track.solutions / "rounds" / "verdicts.parquet"
    found = read_pass_rates(solutions, verdicts)
    assert {key: one.rate for key, one in found.items()} == stopped["pass_rate"].to_dict()
    assert {key: one.samples for key, one in found.items()} == stopped["pass_rate_samples"].to_dict()
    table = pd.read_parquet(verdicts)
    chosen = stopped.index[stopped["seeds"] > RULE.first + 1][0]
    table["correct"] = table["correct"].where(table["id"] != chosen, table["seed"] == 1)
    table.to_parquet(tmp_path / "relabeled.parquet")
    changed = read_pass_rates(solutions, tmp_path / "relabeled.parquet")
    assert changed.pop(chosen) == (1 / RULE.first, RULE.first)
    assert changed == {key: one for key, one in found.items() if key != chosen}
    table["correct"] = table["correct"].astype(object).where((table["id"] != chosen) | (table["seed"] != 1), None)
    table.to_parquet(tmp_path / "undecided.parquet")
    assert read_pass_rates(solutions, tmp_path / "undecided.parquet")[chosen] == (0.0, RULE.first - 1)
    stopped_path(solutions).unlink()
    with pytest.raises(SdgError, match="the last round of adaptive sampling is not judged"):
        read_pass_rates(solutions, verdicts)


@pytest.mark.slow
def test_its_solutions_are_those_of_uniform_sampling(tmp_path, server):
    run = Adaptive(tmp_path / "adaptive", server)
    run.solve()
    uniform = Adaptive(tmp_path / "uniform", server)
    generate_solutions(uniform.problems, uniform.track.stage("solutions"), **uniform.settings)
    for path in run.track.solutions.glob("output-rs*.jsonl"):
        lines = set((uniform.track.solutions / path.name).read_bytes().splitlines())
        assert set(path.read_bytes().splitlines()) <= lines
    with pytest.raises(SdgError, match="begun with uniform sampling(.|\n)*another run name"):
        uniform.solve()
    server.reset()
    manifest = generate_solutions(
        run.problems, run.track.stage("solutions"), **run.settings
    )  # an adaptive run may grow
    assert server.stats()["requests"] == 30 * CAP - manifest["growth"][-1]["counts"]["rows_out"]
    assert {path.name: path.read_bytes() for path in run.track.solutions.glob("output-*.jsonl")} == {
        path.name: path.read_bytes() for path in uniform.track.solutions.glob("output-*.jsonl")
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks with libraries loaded: Linux only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_rounds_that_are_killed_end_alike(tmp_path, server):
    calm = Adaptive(tmp_path / "calm", server)
    calm.solve()
    killed = Adaptive(tmp_path / "killed", server)
    for wait_s in (0.05, 0.1, 0.2, 0.4):
        pid = run_in_child(killed.solve)
        time.sleep(wait_s)
        os.kill(pid, signal.SIGKILL)
        exit_code(pid)
    killed.solve()
    assert killed.contents() == calm.contents()


def test_a_finished_uniform_run_is_replayed(tmp_path, server):
    run = Adaptive(tmp_path, server)
    generate_solutions(run.problems, run.track.stage("solutions"), **run.settings)
    run.judged(run.track.stage("judged"))
    saved = savings(run.track.stage("solutions"), run.track.judged / "verdicts.parquet", RULE)
    assert first_round(run.track.stage("solutions")) is None
    generated, useful = saved.iloc[:, 0], saved.iloc[:, 1]
    assert generated["adaptive"] < generated["uniform"] == 30 * CAP and useful["adaptive"] > 0.8 * useful["uniform"]


def test_an_unknown_way_of_sampling_is_refused():
    with pytest.raises(SdgError, match="sampling must be uniform or adaptive, not 'adaptiv'. Did you mean adaptive?"):
        solve_problems("adaptiv", None, None, None, None, num_seeds=4, rule=RULE)


def test_problems_without_references_cannot_be_sampled_adaptively(tmp_path, server):
    run = Adaptive(tmp_path, server)
    rows = [{**row, "expected_answer": ""} for row in files.read_jsonl(run.problems)]
    run.problems = tmp_path / "bare.jsonl"
    run.problems.write_bytes(b"".join(map(files.dumps, rows)))
    with pytest.raises(SdgError, match='no problem has a reference answer(.|\n)*SAMPLING = "uniform"'):
        run.solve()
