"""Hosted batches: each request is paid for once, whatever breaks; rows as of a live run."""

import os
import signal
import time
import warnings

import pytest
from aiohttp import web

from sdg_helpers import files
from sdg_helpers.answers.thinking import normalise_reasoning
from sdg_helpers.batches.calls import FailedCall
from sdg_helpers.batches.openai_api import OpenAIBatches
from sdg_helpers.batches.records import ENDED, MERGED, WRITTEN, Records
from sdg_helpers.batches.settings import BatchSettings
from sdg_helpers.budgets.account import Account
from sdg_helpers.budgets.budget import BudgetSpent, parse_budget, set_budget
from sdg_helpers.budgets.ledger import Ledger
from sdg_helpers.completions.failed_attempts import RETRY, FailedAttempt
from sdg_helpers.completions.types import Completion, Limits, Request, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import progress_text
from sdg_helpers.profiles import load_profile
from sdg_helpers.serving.engines import open_server
from sdg_helpers.serving.server_specs import parse_server_spec
from tests.helpers.batch_provider import KEY, BatchProvider
from tests.helpers.forks import exit_code, run_in_child
from tests.helpers.solving import generate, rows_of, write_problems

APIS = ("openai", "anthropic", "gemini")
PROBLEMS, SEEDS = 5, 3


@pytest.fixture
def provider():
    with BatchProvider() as one:
        yield one


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("sdg_helpers.batches.calls.backoff_s", lambda *_: 0.02)


def server_at(provider, api, **batch):
    settings = {"engine": "endpoint", "model": "m", "base_url": provider.url(api)}
    return open_server(parse_server_spec({**settings, "batch": {"api": api, "poll_s": 0.02, **batch}}), ".")


def solve(provider, api, folder, **batch):
    """Generate solutions as notebook 03 does, through batches."""
    problems = folder / "problems.jsonl"
    if not problems.exists():
        write_problems(problems, PROBLEMS)
    return generate(
        problems,
        folder / "solutions",
        None,
        SEEDS,
        open_server=lambda: server_at(provider, api, **batch),
        limits=Limits(outage_deadline_s=2.0),
    )


def ask(provider, api, folder, count=10, limits=None, on_completion=None, account=None, **batch):
    """Send requests through batches; return their outcomes by key and all reports of the progress."""
    outcomes, reports = {}, []

    def note(request, outcome):
        assert request.key not in outcomes
        outcomes[request.key] = outcome

    server = server_at(provider, api, **batch)
    server.account = account
    server.complete(
        (Request(n, [{"role": "user", "content": f"What is {n} + 1?"}], n) for n in range(count)),
        model="m",
        sampling=Sampling(0.6, 0.95, 200),
        limits=limits or Limits(outage_deadline_s=2.0),
        folder=folder,
        on_completion=on_completion or note,
        on_failure=note,
        on_progress=reports.append,
    )
    return outcomes, reports


def assert_paid_once(provider, count=PROBLEMS * SEEDS):
    for batch in provider.batches.values():  # also those that nobody asks about any more
        if batch["status"] == "in_progress":
            provider._process(batch)
    assert sum(provider.paid.values()) == count
    assert set(provider.paid.values()) == {1}


@pytest.mark.parametrize("api", APIS)
def test_rows_of_a_batch_run(provider, api, tmp_path):
    manifest = solve(provider, api, tmp_path)
    assert manifest["counts"]["rows_out"] == PROBLEMS * SEEDS and not (tmp_path / "solutions" / "partial").exists()
    assert_paid_once(provider)
    rows = [row for path in sorted((tmp_path / "solutions").glob("output-rs*")) for row in files.read_jsonl(path)]
    assert all(row["generation"].startswith("<think>") and row["finish_reason"] == "stop" for row in rows)


def test_rows_have_the_bytes_of_a_live_run(provider, tmp_path):
    for api in ("openai", "gemini"):
        solve(provider, api, tmp_path / api)
        live = {"engine": "endpoint", "model": "m", "base_url": provider.url(api)}
        generate(
            tmp_path / api / "problems.jsonl",
            tmp_path / api / "live",
            None,
            SEEDS,
            open_server=lambda live=live: open_server(parse_server_spec(live), "."),
        )
        assert rows_of(tmp_path / api / "live") == rows_of(tmp_path / api / "solutions")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("operation", ["upload", "create", "poll", "results"])
def test_a_lost_reply_costs_nothing(provider, api, operation, tmp_path):
    provider.lose[operation] = 2
    outcomes, _ = ask(provider, api, tmp_path)
    assert all(isinstance(one, Completion) for one in outcomes.values()) and len(outcomes) == 10
    assert_paid_once(provider, 10)


def killing_save(number, late):
    """Kill this process at the nth save of the record, before or after it reaches the disk."""
    save, count = Records.save, [0]

    def dying(self, batch, **changes):
        count[0] += 1
        if count[0] == number and not late:
            os.kill(os.getpid(), signal.SIGKILL)
        saved = save(self, batch, **changes)
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return saved

    Records.save = dying


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("api", APIS)
def test_killed_at_every_write_of_the_record(api, late, tmp_path):
    """Written, uploaded, creating, created, ended, merged: before and after each."""
    whole = {}
    for number in range(1, 8):
        with BatchProvider() as provider:
            folder = tmp_path / str(number)

            def work(provider=provider, folder=folder, number=number):
                killing_save(number, late)
                solve(provider, api, folder)

            died = exit_code(run_in_child(work), 60) == -signal.SIGKILL
            solve(provider, api, folder)
            assert_paid_once(provider)
            rows = rows_of(folder / "solutions")
            assert (whole := whole or rows) == rows
            if not died:
                break
    assert not died and number == 7, "every write of the record was tried"


@pytest.mark.parametrize("operation", ["upload", "create", "poll", "results"])
@pytest.mark.parametrize("api", APIS)
def test_killed_while_the_provider_replies(api, operation, tmp_path):
    with BatchProvider() as provider:
        pid = []

        def kill(done):
            if done == operation and pid:
                os.kill(pid.pop(), signal.SIGKILL)

        provider.after = kill

        def work():
            time.sleep(0.3)
            solve(provider, api, tmp_path)

        pid.append(child := run_in_child(work))
        assert exit_code(child, 60) == (0 if (api, operation) == ("anthropic", "upload") else -signal.SIGKILL)
        solve(provider, api, tmp_path)
        assert_paid_once(provider)


@pytest.mark.parametrize("number", [1, 7, 15])
def test_killed_while_merging(provider, number, tmp_path):
    from sdg_helpers.solutions import seed_files

    def work():
        append, count = seed_files.PartialWriter.append, [0]

        def dying(self, seed, line):
            append(self, seed, line)
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

        seed_files.PartialWriter.append = dying
        solve(provider, "openai", tmp_path)

    assert exit_code(run_in_child(work), 60) == -signal.SIGKILL
    assert solve(provider, "openai", tmp_path)["counts"]["rows_out"] == PROBLEMS * SEEDS
    assert_paid_once(provider)


def test_large_work_is_split_and_memory_of_it_is_on_disk(provider, tmp_path):
    provider.requests_limit = 8
    provider.polls = 3
    outcomes, reports = ask(provider, "openai", tmp_path, count=100, max_requests=8)
    assert len(outcomes) == 100 and provider.sizes == [8] * 12 + [4]
    assert_paid_once(provider, 100)
    ask(provider, "anthropic", tmp_path / "by-size", count=20, max_mb=0.001)
    assert len(provider.sizes) > 13 + 3 and sum(provider.sizes) == 120


def test_a_run_that_was_killed_with_many_batches_resumes_all(tmp_path):
    with BatchProvider(polls=10**9) as provider:

        def work():
            ask(provider, "openai", tmp_path, count=100, max_requests=8)

        child = run_in_child(work)
        while provider.calls["poll"] < 30:
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        exit_code(child, 10)
        provider.polls = 0
        outcomes, _ = ask(provider, "openai", tmp_path, count=100, max_requests=8)
        assert all(isinstance(one, Completion) for one in outcomes.values()) and len(outcomes) == 100
        assert_paid_once(provider, 100)


def test_repeated_and_shuffled_results_are_merged_by_id(provider, tmp_path):
    provider.repeat = True
    outcomes, _ = ask(provider, "openai", tmp_path)
    assert {n: one.text.rpartition("{")[2] for n, one in outcomes.items() if n < 3}.keys() == {0, 1, 2}
    direct = {n: provider.completion({"messages": [{"content": f"What is {n} + 1?"}]}, n) for n in range(10)}
    assert {n: one.text for n, one in outcomes.items()} == {
        n: normalise_reasoning(*map(body["choices"][0]["message"].get, ("content", "reasoning_content")))
        for n, body in direct.items()
    }


def faulty(provider, faults):
    """Give the requests with these numbers other results, once; `None` is no result."""
    original = provider._openai_row

    def row(asked, number):
        n = int(asked["body"]["messages"][0]["content"].split()[2])
        if n in faults and faults[n]:
            made = faults[n].pop(0)
            return made and {"custom_id": asked["custom_id"], **made}
        return original(asked, number)

    provider.rows = row


def test_requests_that_fail_go_into_a_further_batch_or_are_failures(provider, tmp_path):
    expired = {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
    refused = {"response": {"status_code": 400, "body": {"error": {"message": f"bad {KEY}"}}}}
    broken = {"response": {"status_code": 500, "body": {"error": {"message": "oops"}}}}
    empty = {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}
    faulty(
        provider,
        {
            1: [expired],
            2: [refused],
            3: [broken, broken, broken, broken],
            4: [None],
            5: [{"response": {"status_code": 200, "body": empty}}] * 5,
            6: [{"response": {"status_code": 0, "body": ""}}],
            7: [{"response": {"status_code": 200, "body": ["odd"]}}],
        },
    )
    outcomes, _ = ask(provider, "openai", tmp_path, rounds=3)
    failed = {n: one for n, one in outcomes.items() if not isinstance(one, Completion)}
    assert {n: (one.reason, one.attempts) for n, one in failed.items()} == {
        2: ("http_400", 1),
        3: ("http_500", 3),
        5: ("empty", 3),
    }
    assert KEY not in failed[2].detail and len(outcomes) == 10 and provider.sizes == [10, 6, 2]


def test_expired_batch_keeps_what_was_processed(provider, tmp_path):
    provider.outcome = "expired"
    done, original = [], provider._openai_row

    def half(asked, number):
        if len(done) < 5:
            done.append(asked)
            return original(asked, number)
        return None

    provider.rows = half
    outcomes, _ = ask(provider, "openai", tmp_path, rounds=1)
    assert sum(isinstance(one, Completion) for one in outcomes.values()) == 5
    assert {one.reason for one in outcomes.values() if not isinstance(one, Completion)} == {"expired"}
    provider.rows = None
    again, _ = ask(provider, "openai", tmp_path, rounds=1)  # a later run asks for them in a new batch
    assert all(isinstance(one, Completion) for one in again.values())


def test_anthropic_results_of_all_types(provider, tmp_path):
    original = provider._anthropic_row

    def row(asked, number):
        n = int(asked["params"]["messages"][0]["content"].split()[2])
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: too large"}}
        results = {1: {"type": "errored", "error": error}, 2: {"type": "canceled"}, 3: {"type": "expired"}}
        return {"custom_id": asked["custom_id"], "result": results[n]} if n in results else original(asked, number)

    provider.rows = row
    outcomes, _ = ask(provider, "anthropic", tmp_path, rounds=1)
    assert {n: one.reason for n, one in outcomes.items() if not isinstance(one, Completion)} == {
        1: "http_400",
        2: "cancelled",
        3: "expired",
    }


def test_a_batch_waits_while_the_provider_has_no_room(provider, tmp_path):
    full = {"error": {"message": "rate limit"}}
    provider.refuse["create"] = [web.json_response(full, status=429), web.json_response(full, status=503)]
    outcomes, _ = ask(provider, "openai", tmp_path)
    assert len(outcomes) == 10
    assert_paid_once(provider, 10)


def test_enqueued_token_limit_is_waited_for_and_then_named(provider, tmp_path):
    provider.polls = 0
    provider._process = lambda batch: batch.update(
        status="failed", fault={"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
    )
    with pytest.raises(SdgError, match="no room for a batch of 10 requests .*Enqueued token limit.*max_requests"):
        ask(provider, "openai", tmp_path, limits=Limits(pushback_deadline_s=0.3))
    del provider._process
    assert len(ask(provider, "openai", tmp_path)[0]) == 10
    assert_paid_once(provider, 10)


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (401, f"Incorrect API key provided: {KEY}", "denies access"),
        (429, '"insufficient_quota"', "insufficient_quota"),
        (400, "Unsupported parameter: 'temperature' is not supported", r"omit: \[temperature\]"),
    ],
)
def test_a_refused_batch_stops_the_run_with_the_providers_words(provider, status, said, hint, tmp_path):
    provider.refuse["create"] = [
        web.json_response({"error": {"message": said, "code": said.strip('"')}}, status=status)
    ]
    with pytest.raises(SdgError, match=hint) as stopped:
        ask(provider, "openai", tmp_path)
    assert KEY not in str(stopped.value)
    assert len(ask(provider, "openai", tmp_path)[0]) == 10
    assert_paid_once(provider, 10)


def test_a_batch_that_failed_validation_is_named(provider, tmp_path):
    provider.polls = 0
    provider._process = lambda batch: batch.update(
        status="failed", fault={"code": "invalid", "line": 3, "message": "no such model"}
    )
    with pytest.raises(SdgError, match="did not accept a batch of 10 requests: line 3: no such model"):
        ask(provider, "openai", tmp_path)


def test_a_run_whose_requests_all_fail_stops(provider, tmp_path):
    refused = {"response": {"status_code": 400, "body": {"error": {"message": "temperature is not supported"}}}}
    faulty(provider, {n: [refused] for n in range(100)})
    with pytest.raises(SdgError, match=r"all 30 requests of a batch failed.*omit: \[temperature\]"):
        ask(provider, "openai", tmp_path, count=30)


def test_anothers_batch_of_the_same_size_is_not_taken_for_ours(provider, tmp_path):
    rows = [{"custom_id": f"x-{n}", "params": {"messages": [{"role": "user", "content": "1 + 1?"}]}} for n in range(10)]
    made = []

    def add(operation):
        if operation == "create" and not made:
            made.append(provider._create("anthropic", rows, 10))

    provider.after, provider.lose["create"] = add, 1
    outcomes, _ = ask(provider, "anthropic", tmp_path)
    assert len(outcomes) == 10 and len(provider.batches) == 2


def test_a_lost_creation_that_never_happened_is_repeated(provider, tmp_path, monkeypatch):
    original = OpenAIBatches.create

    def lose(self, batch, path):
        monkeypatch.setattr(OpenAIBatches, "create", original)
        raise FailedCall(FailedAttempt(RETRY, "disconnected", "gone"), unclear=True)

    monkeypatch.setattr(OpenAIBatches, "create", lose)
    outcomes, _ = ask(provider, "openai", tmp_path)
    assert len(outcomes) == 10
    assert_paid_once(provider, 10)


def test_killed_while_a_batch_of_retries_is_open(tmp_path):
    """Requests that failed in a batch that is merged again are in a batch of the second round already."""
    broken = {"response": {"status_code": 500, "body": {"error": {"message": "oops"}}}}
    with BatchProvider() as provider:
        seen, original = set(), provider._openai_row

        def row(asked, number):
            again = str(asked["body"]) in seen
            seen.add(str(asked["body"]))
            fails = not again and (number < 2 or len(seen) > 12)  # 2 of the first 6, 2 of the next 6, the last 3
            return {"custom_id": asked["custom_id"], **broken} if fails else original(asked, number)

        provider.rows = row

        def work():
            save, merged = Records.save, []

            def dying(self, batch, **changes):
                merged.extend([batch] * (changes.get("state") == MERGED))
                if len(merged) == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                return save(self, batch, **changes)

            Records.save = dying
            solve(provider, "openai", tmp_path, max_requests=6)

        assert exit_code(run_in_child(work), 60) == -signal.SIGKILL
        states = [one.state for one in Records(tmp_path / "solutions" / "partial" / "batches")._batches.values()]
        assert states == [MERGED, MERGED, ENDED, WRITTEN]
        assert solve(provider, "openai", tmp_path, max_requests=6)["counts"]["rows_out"] == PROBLEMS * SEEDS
        assert_paid_once(provider)
        assert sum(provider.sizes) == PROBLEMS * SEEDS + 7


def test_progress_says_how_far_the_batch_is(provider, tmp_path):
    provider.polls = 3
    _, reports = ask(provider, "openai", tmp_path)
    assert any("batch of 10 requests, 0 done, submitted " in one.note for one in reports)
    assert reports[-1].note == "" and reports[-1].done == 10
    line = progress_text({"done": 0, "total": 10, "note": "batch of 10 requests, 3 done, submitted 2h00m ago"})
    assert line == "0/10 rows  0%  batch of 10 requests, 3 done, submitted 2h00m ago"


def leave_open(provider, folder, state="created", **options):
    """Submit a batch and die: while it is processed ("created"), or when its results are here ("ended")."""
    provider.polls = 10**9 if state == "created" else 0

    def work():
        save = Records.save

        def dying(self, batch, **changes):
            saved = save(self, batch, **changes)
            if saved.state == state:
                os.kill(os.getpid(), signal.SIGKILL)
            return saved

        Records.save = dying
        ask(provider, "openai", folder, **options)

    assert exit_code(run_in_child(work), 60) == -signal.SIGKILL
    provider.polls = 0


def ask_live(provider, folder, count=10):
    """Send the requests of `ask` to the live API."""
    outcomes = {}
    spec = parse_server_spec({"engine": "endpoint", "model": "m", "base_url": provider.url("openai")})
    open_server(spec, ".").complete(
        (Request(n, [{"role": "user", "content": f"What is {n} + 1?"}], n) for n in range(count)),
        model="m",
        sampling=Sampling(0.6, 0.95, 200),
        limits=Limits(),
        folder=folder,
        on_completion=lambda request, outcome: outcomes.update({request.key: outcome}),
        on_failure=lambda request, failure: pytest.fail(str(failure)),
        on_progress=lambda progress: None,
    )
    return outcomes


@pytest.mark.parametrize("state", ["created", "ended"])
def test_another_server_or_the_live_api_does_not_silently_pay_again(provider, state, tmp_path):
    leave_open(provider, tmp_path, state)
    (name,) = provider.batches
    for switch in (lambda: ask(provider, "anthropic", tmp_path), lambda: ask_live(provider, tmp_path)):
        with pytest.raises(SdgError, match="a batch of 10 requests went to openai .* ago") as refused:
            switch()
        assert "Run again with the former profile" in str(refused.value)
        assert f"cancel them at the provider ({name}), then delete" in str(refused.value)
    assert len(ask(provider, "openai", tmp_path)[0]) == 10
    assert_paid_once(provider, 10)
    assert len(ask_live(provider, tmp_path)) == 10  # nothing is open any more


def test_a_batch_that_was_never_submitted_does_not_bar_the_live_api(provider, tmp_path):
    leave_open(provider, tmp_path, "written")
    assert len(ask_live(provider, tmp_path)) == 10 and not provider.batches


def test_a_batch_is_written_again_when_part_of_it_was_answered_otherwise(provider, tmp_path):
    leave_open(provider, tmp_path / "batches", "written")
    run = tmp_path / "run"
    set_budget(run, parse_budget("800 tokens"))  # four replies of at most 200: each counts once
    assert len(ask(provider, "openai", tmp_path / "batches", count=4, account=Account(run, "solver"))[0]) == 4
    assert provider.sizes == [4]
    assert_paid_once(provider, 4)


def test_a_spent_budget_ends_the_run_after_what_was_submitted(provider, tmp_path):
    run, folder, done = tmp_path / "run", tmp_path / "batches", []
    set_budget(run, parse_budget("4000 tokens"))
    options = {"count": 100, "max_requests": 8}
    with pytest.raises(BudgetSpent):
        ask(
            provider,
            "openai",
            folder,
            account=Account(run, "solver"),
            on_completion=lambda *one: done.append(one),
            **options,
        )
    used = Ledger(run).spent().completion_tokens
    assert 20 < len(done) == sum(provider.paid.values()) < 100 and 3500 < used <= 4000
    set_budget(run, None)
    assert len(ask(provider, "openai", folder, account=Account(run, "solver"), **options)[0]) == 100


def test_settings_of_a_profile(tmp_path):
    for name in APIS:
        assert load_profile(f"{name}-batch").server("solver").batch.api == name
    chunks = "jobs: {generate: {servers: 4}}"
    (tmp_path / "p.yaml").write_text(f"servers: {{solver: {{engine: endpoint, model: m, batch: openai}}}}\n{chunks}\n")
    with pytest.raises(SdgError, match="set servers to 1"):
        load_profile(tmp_path / "p.yaml")
    spec = {"engine": "endpoint", "model": "m", "base_url": "https://models.example/v1"}
    assert parse_server_spec({**spec, "batch": "openai"}).batch == BatchSettings(api="openai")
    with pytest.raises(ValueError, match="batches go to one address"):
        parse_server_spec({**spec, "base_url": ["https://a/v1", "https://b/v1"], "batch": "openai"})


def test_an_unlisted_model_is_a_warning_and_no_question_is_paid(provider, tmp_path):
    settings = {"engine": "endpoint", "model": "other", "base_url": provider.url("openai"), "batch": "openai"}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        open_server(parse_server_spec(settings), tmp_path)
    assert "not 'other'" in str(said[-1].message)
