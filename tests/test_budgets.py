"""Budgets: reading them, forecasting, the ledger, and runs that stop inside one and go on to the same bytes."""

import os
import random
import subprocess
import sys
import time

import pytest

from sdg_helpers import files
from sdg_helpers.budgets.account import Account, is_spent
from sdg_helpers.budgets.budget import BudgetSpent, format_amount, parse_budget, read_budget, set_budget
from sdg_helpers.budgets.forecast import Forecast
from sdg_helpers.budgets.ledger import Entry, Ledger
from sdg_helpers.budgets.prices import Prices
from sdg_helpers.budgets.reports import check_budget, spending_text, status_lines
from sdg_helpers.completions.types import Completion, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.judging import Judge, judge_solutions
from sdg_helpers.profiles import load_profile
from sdg_helpers.prompts import load_prompt
from sdg_helpers.runs import reset
from sdg_helpers.runs.run import Run
from sdg_helpers.solutions import generate_solutions
from tests.helpers.clone import ROOT, command, environment
from tests.helpers.solving import rows_of, write_problems
from tests.helpers.standin import StandIn


@pytest.mark.parametrize(
    "text, amount, unit, shown",
    [
        ("2e9 tokens", 2e9, "tokens", "2G tokens"),
        ("1,500,000 tokens", 1.5e6, "tokens", "1.5M tokens"),
        ("500k generated tokens", 5e5, "tokens", "500k tokens"),
        ("2M total tokens", 2e6, "total tokens", "2M total tokens"),
        ("500 EUR", 500, "EUR", "500.00 EUR"),
        ("$12.5", 12.5, "USD", "12.50 USD"),
        ("500€", 500, "EUR", "500.00 EUR"),
        ("2000 gpu-hours", 2000, "gpu-hours", "2,000 gpu-hours"),
        ("1 GPU hour", 1, "gpu-hours", "1 gpu-hours"),
        ("8h", 8, "hours", "8h00m"),
        ("1h30m", 1.5, "hours", "1h30m"),
        ("90 min", 1.5, "hours", "1h30m"),
        ("2 days", 48, "hours", "2d00h"),
    ],
)
def test_a_budget_is_read_in_any_spelling(text, amount, unit, shown):
    budget = parse_budget(text)
    assert (budget.amount, budget.unit) == (amount, unit)
    assert format_amount(budget.amount, budget.unit) == shown


@pytest.mark.parametrize(
    "text, said",
    [
        ("500", "the unit is missing"),
        ("3 B", "the unit is missing"),
        ("0 tokens", "greater than 0"),
        ("0h", "greater than 0"),
        ("1e999 tokens", "greater than 0"),
        ("-5 EUR", "cannot read"),
        ("1,5 EUR", "cannot read"),
        ("1.2.3h", "cannot read"),
        ("nan tokens", "cannot read"),
        ("", "cannot read"),
        ("tokens", "cannot read"),
        ("5 tokens per s", "unknown unit 'tokens per s'"),
    ],
)
def test_a_budget_that_cannot_be_read_is_refused(text, said):
    with pytest.raises(SdgError, match=said):
        parse_budget(text)


def completion(tokens, seconds=1.0, text="x"):
    return Completion(text, "none", "stop", 10, tokens, seconds)


def test_few_replies_are_no_forecast_and_then_those_in_flight_count_as_longer_than_the_mean():
    forecast, request = Forecast(1000), Request(None, [{"role": "user", "content": "x" * 40}])
    for _ in range(5):
        forecast.sent(request)
    assert forecast.expected() == (100, 5000) and forecast.expected(request) == (120, 6000)
    for number in range(40):  # 100 and 300 tokens
        forecast.sent(request)
        forecast.ended(request, 10, 100 + 200 * (number % 2), 2.0)
    mean, variance = 200, 100**2
    assert forecast.expected() == pytest.approx((50, 5 * (mean + variance / mean) + 2 * (5 * variance) ** 0.5))
    assert 1.9 < forecast.seconds < 2.1


def test_a_heavy_tail_is_never_more_than_the_longest_reply():
    forecast, request = Forecast(1000), Request(None, [])
    for number in range(100):
        forecast.sent(request)
        forecast.ended(request, 0, 1000 if number % 10 == 0 else 1, 1.0)
    assert forecast.expected(request).completion == 1000


# --- the ledger


def test_overlapping_processes_count_once_as_time_and_twice_as_gpu_hours(tmp_path):
    for name, start, end, gpus in (("a", 0, 3600, 2), ("b", 1800, 7200, 4), ("c", 9000, 9360, 0)):
        entry = Entry(tmp_path, gpus=gpus)
        entry.save(ended=True)
        path = tmp_path / "spending" / entry.name
        files.write_json(
            path.with_name(f"{name}.json"), {**files.read_json(path), "started_at": start, "updated_at": end}
        )
        path.unlink()
    spent = Ledger(tmp_path).spent()
    assert spent.hours == pytest.approx(2.1) and spent.gpu_hours == pytest.approx(2 + 6) and spent.live_gpus == 0


def test_a_process_that_died_reserves_nothing_and_its_time_ends_with_its_last_word(tmp_path):
    here = Entry(tmp_path, gpus=1, reserved_completion_tokens=7)
    here.save()
    script = (
        "import sys, pathlib; from sdg_helpers.budgets.ledger import Entry; "
        "Entry(pathlib.Path(sys.argv[1]), reserved_completion_tokens=500, completion_tokens=50).save()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env={**os.environ})
    now = time.time()
    spent = Ledger(tmp_path).spent(reserved=True, now=now + 20)
    assert spent.completion_tokens == 57 and spent.live_gpus == 1 and 19 < 3600 * spent.hours < 25
    assert Ledger(tmp_path).spent(reserved=True, now=now + 40).completion_tokens == 50
    assert Ledger(tmp_path).spent(reserved=True, without=here.name, now=now + 20).completion_tokens == 50


def test_a_damaged_entry_is_named(tmp_path):
    (tmp_path / "spending").mkdir()
    (tmp_path / "spending" / "x.json").write_text("{}")
    with pytest.raises(SdgError, match=r"x\.json: not an entry of the ledger"):
        Ledger(tmp_path).spent()
    (tmp_path / "budget.json").write_text("[]")
    with pytest.raises(SdgError, match="not the record of a budget"):
        read_budget(tmp_path)


def test_replies_without_a_token_count_are_estimated_and_said_to_be(tmp_path):
    account = Account(tmp_path, "solver")
    account.begin(100)
    request = Request(None, [{"role": "user", "content": "x" * 20}])
    assert account.admits(request)
    account.ended(request, Completion("y" * 60, "none", "stop", 0, 0, 1.0))
    account.end()
    spent = Ledger(tmp_path).spent()
    assert (spent.prompt_tokens, spent.completion_tokens, spent.estimated) == (10, 30, 1)
    assert "1 replies without a token count estimated" in status_lines(tmp_path)[0]


# --- units of time


def test_no_request_is_sent_that_may_not_end_in_time(tmp_path):
    set_budget(tmp_path, parse_budget("1h"))
    account = Account(tmp_path, "solver")
    account.begin(100)
    request = Request(None, [])
    for _ in range(3):
        assert account.admits(request)
        account.ended(request, completion(5, seconds=1800))
    entry = Entry(tmp_path, role="driver")
    entry.save()
    path = tmp_path / "spending" / entry.name
    for minutes, admitted in ((20, True), (35, False)):
        files.write_json(path, {**files.read_json(path), "started_at": time.time() - 60 * minutes})
        account._look_at = 0.0
        assert account.admits(request) is admitted


def test_gpu_hours_run_as_fast_as_there_are_gpus(tmp_path):
    set_budget(tmp_path, parse_budget("16 gpu-hours"))
    account, request = Account(tmp_path, "solver", gpus=8), Request(None, [])
    account.begin(100)
    assert account.admits(request)
    account.ended(request, completion(5, seconds=1800))  # 4 gpu-hours of ours
    for seconds, admitted in ((3600, True), (5700, False)):
        account._entry._started = time.time() - seconds
        account.tick()
        account._entry.save()
        account._look_at = 0.0
        assert account.admits(request) is admitted


# --- what is refused


PROFILE = """
servers:
  solver: {{engine: endpoint, model: standin, base_url: {url}{prices}}}
"""
PRICES = ", prices: {input_per_million: 2, output_per_million: 10, currency: EUR}"


def open_run(tmp_path, url="http://localhost:1/v1", prices=PRICES, name="r"):
    path = tmp_path / "profile.yaml"
    path.write_text(PROFILE.format(url=url, prices=prices))
    return Run(name, tmp_path / name, load_profile(path))


@pytest.mark.parametrize(
    "text, prices, said",
    [
        ("5 EUR", "", "the solver of this profile has no prices, so 'EUR' cannot be counted. Add `prices:"),
        ("5 apples", "", "no prices, so 'apples'"),
        ("5 USD", PRICES, "the prices of the solver are in EUR. Give the budget in EUR"),
        ("5 gpu-hours", PRICES, "runs on no GPU that is known here"),
        ("100 tokens", PRICES, r"has already spent 2,000 tokens. A budget counts from the beginning of the run"),
        ("0.01 EUR", PRICES, r"has already spent 0\.02 EUR"),
    ],
)
def test_a_budget_that_cannot_hold_is_refused_at_once(tmp_path, text, prices, said):
    run = open_run(tmp_path, prices=prices)
    Entry(
        run.folder,
        completion_tokens=2000,
        prices=Prices(input_per_million=2, output_per_million=10, currency="EUR").model_dump(),
    ).save(ended=True)
    with pytest.raises(SdgError, match=said):
        check_budget(text, run.folder, run.profile)


@pytest.mark.parametrize(
    "prices, said",
    [
        ("{input_per_million: 2, output_per_million: 10}", "solver.prices.currency is missing"),
        ("{input_per_million: 2, currency: EUR}", "solver.prices.output_per_million is missing"),
        ("{input_per_million: -2, output_per_million: 10, currency: EUR}", "greater than or equal to 0"),
        ("{input_per_million: .nan, output_per_million: 10, currency: EUR}", "finite"),
        ("{input_per_million: 2 EUR, output_per_million: 10, currency: EUR}", "valid number"),
        ("{input_per_million: 2, output_per_million: 10, currency: per hour}", "pattern"),
    ],
)
def test_prices_without_a_unit_are_refused(tmp_path, prices, said):
    with pytest.raises(SdgError, match=said):
        open_run(tmp_path, prices=f", prices: {prices}")


# --- runs


def do(run, problems, concurrency=4):
    """Solve and judge, as notebooks 03 and 04 do."""
    track, limits = run.track("math"), Limits(concurrency=concurrency, timeout_s=30)
    generate_solutions(
        problems,
        track.stage("solutions"),
        open_server=lambda: run.server("solver"),
        model="standin",
        prompt=load_prompt("math/solve-few-shot"),
        num_seeds=3,
        sampling=Sampling(0.6, 0.95, 600),
        limits=limits,
    )
    judge = Judge(lambda: run.server("judge"), "standin", load_prompt("math/judge"), limits, max_tokens=600)
    judge_solutions(track.stage("solutions"), problems, track.stage("judged"), judge=judge, tiers="exact")


def outputs_of(run):
    verdicts = run.folder / "math" / "judged" / "verdicts.parquet"
    return rows_of(run.folder / "math" / "solutions") | {"verdicts": verdicts.read_bytes()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(server, problems, its undisturbed outputs, Spent) of a run without a budget."""
    folder = tmp_path_factory.mktemp("whole")
    problems = write_problems(folder / "problems" / "problems.jsonl", 12)
    with StandIn(latency="lognormal:0.004:0.5", accuracy=0.6, size=300) as server:
        run = open_run(folder, server.base_url)
        do(run, problems)
        yield server, problems, outputs_of(run), Ledger(run.folder).spent()


def test_the_ledger_has_what_the_server_counted(whole, tmp_path):
    server, problems, outputs, _ = whole
    server.reset()
    run = open_run(tmp_path, server.base_url)
    do(run, problems)
    spent, stats = Ledger(run.folder).spent(), server.stats()
    assert (spent.prompt_tokens, spent.completion_tokens) == (stats["prompt_tokens"], stats["completion_tokens"])
    assert spent.money == pytest.approx({"EUR": (2 * spent.prompt_tokens + 10 * spent.completion_tokens) / 1e6})
    assert outputs_of(run) == outputs
    before = Ledger(run.folder).spent()
    reset.reset_stages(run.folder, "math", reset.downstream("math", "solutions"))
    assert Ledger(run.folder).spent() == before  # what was spent stays spent


UNITS = {"tokens": 1.0, "total tokens": 1.0, "EUR": 1e-6}


@pytest.mark.parametrize("number", range(50))
def test_random_budgets_hold_and_runs_go_on_to_the_same_bytes(whole, tmp_path, number):
    """Stop, raise the budget, go on … until it is enough: never more than the budget and what was in flight."""
    server, problems, outputs, spent = whole
    rng = random.Random(number)
    unit = rng.choice(list(UNITS))
    needed, concurrency = spent.amount(unit), rng.choice([1, 3, 8])
    amount, longest = needed * rng.uniform(0.001, 0.9), 600 * (10e-6 if unit == "EUR" else 1)
    run, stops = open_run(tmp_path, server.base_url), 0
    server.reset()
    for _ in range(60):
        set_budget(run.folder, parse_budget(f"{amount!r} {unit}"))
        try:
            do(run, problems, concurrency)
            break
        except BudgetSpent:
            stops += 1
        stats, now = server.stats(), Ledger(run.folder).spent()
        assert (now.prompt_tokens, now.completion_tokens) == (stats["prompt_tokens"], stats["completion_tokens"])
        assert now.amount(unit) <= amount + concurrency * longest
        assert is_spent(run.folder, read_budget(run.folder))
        with pytest.raises(BudgetSpent):
            run.server("solver")  # not even started
        amount += needed * rng.uniform(0.2, 0.6)
    assert stops and outputs_of(run) == outputs
    assert server.stats()["completion_tokens"] == spent.completion_tokens  # nothing was asked twice


KILLED = """
import sys, pathlib
from tests.test_budgets import do
from sdg_helpers.profiles import load_profile
from sdg_helpers.runs.run import Run
folder = pathlib.Path(sys.argv[1])
do(Run("r", folder / "r", load_profile(folder / "profile.yaml")), pathlib.Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_what_a_killed_process_spent_counts_for_the_next_one(whole, tmp_path):
    _, problems, outputs, needed = whole
    with StandIn(latency="0.3", accuracy=0.6, size=300) as server:
        run = open_run(tmp_path, server.base_url)
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), str(problems)], cwd=ROOT)
        while Ledger(run.folder).spent().completion_tokens < 50:  # saved every two seconds
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.wait()
        known = Ledger(run.folder).spent().completion_tokens
        assert 50 <= known <= server.stats()["completion_tokens"] < needed.completion_tokens
        set_budget(run.folder, parse_budget(f"{known + 700} tokens"))  # one reply of at most 600 more
        with pytest.raises(BudgetSpent):
            do(run, problems, concurrency=1)
        assert known < Ledger(run.folder).spent().completion_tokens <= known + 700
        set_budget(run.folder, None)
        do(run, problems)
        assert outputs_of(run) == outputs


def test_the_live_line_and_the_status_say_what_is_spent(tmp_path):
    run, prices = open_run(tmp_path), Prices(input_per_million=2, output_per_million=10, currency="EUR")
    assert spending_text(Ledger(run.folder)) == "" and status_lines(run.folder) == []
    Entry(run.folder, completion_tokens=200_000, prompt_tokens=50_000, prices=prices.model_dump()).save(ended=True)
    assert spending_text(Ledger(run.folder)) == "2.10 EUR"
    set_budget(run.folder, parse_budget("1M tokens"))
    assert spending_text(Ledger(run.folder)) == "200k of 1M tokens"
    first, second = status_lines(run.folder)
    assert first.startswith("spent: 200k generated tokens, 50k of prompts, 2.10 EUR, ") and first.endswith(" at work")
    assert second == "budget: 1M tokens, of which 20.0% are spent, 800k tokens left"


def test_a_run_stops_at_its_time_and_goes_on_to_the_same_bytes(whole, tmp_path):
    _, problems, outputs, _ = whole
    with StandIn(latency="0.15", accuracy=0.6, size=300) as server:
        run = open_run(tmp_path, server.base_url)
        set_budget(run.folder, parse_budget("2s"))
        with pytest.raises(BudgetSpent, match="the budget of 2.0s has no room for another request: "):
            do(run, problems, concurrency=2)
        assert 2 <= server.stats()["requests"] < 36 and server.stats()["in_flight"] == 0
        set_budget(run.folder, parse_budget("1h"))
        do(run, problems)
        assert outputs_of(run) == outputs and server.stats()["repeats"] == 0


@pytest.mark.slow
def test_sdg_run_stops_cleanly_and_says_how_to_go_on(tmp_path):
    """Exit code, message, status and resuming, with the notebooks."""

    def sdg(*words):
        env = {**environment(), "SDG_OUTPUTS": str(tmp_path / "outputs"), "OPENAI_API_KEY": "none"}
        done = subprocess.run(command(*words), cwd=ROOT, env=env, capture_output=True, text=True, timeout=400)
        return done.returncode, done.stdout + done.stderr

    with StandIn(accuracy=0.6, latency="0.02") as server:
        (tmp_path / "p.yaml").write_text(PROFILE.format(url=server.base_url, prices=PRICES))
        run = ("run", "math", "--profile", str(tmp_path / "p.yaml"), "--run", "a", "--to", "03")
        assert sdg(*run, "--budget", "5 apples")[0] == 2 and not (tmp_path / "outputs" / "a").exists()
        code, said = sdg(*run, "--budget", "0.05 EUR")
        assert code == 3 and "03 generate solutions" in said.lower() and "stopped: the budget is spent" in said
        assert "sdg: stopped: the budget of 0.05 EUR has no room for another request: 0.0" in said
        assert "Left in math/solutions: " in said and "more at this rate.\nFinished work is kept." in said
        assert "sdg run math --profile" in said and "--budget '0." in said and "Traceback" not in said
        code, said = sdg("status", "a")
        assert code == 0 and "stopped; run again to resume" in said and "budget: 0.05 EUR, of which 9" in said
        before = server.stats()["requests"]
        code, said = sdg(*run)  # the budget still holds
        assert code == 3 and server.stats()["requests"] == before
        code, said = sdg(*run, "--budget", "0.01 EUR")
        assert code == 2 and "has already spent 0.0" in said
        assert sdg(*run, "--budget", "none")[0] == 0
        manifest = files.read_json(tmp_path / "outputs" / "a" / "math" / "solutions" / "manifest.json")
        assert manifest["requests"]["done"] == manifest["counts"]["rows_out"] == server.stats()["unique"]
