"""Many requests against a real server process that fails in every way we know of."""

import asyncio
import errno
import http.server
import json
import os
import random
import signal
import threading
import time
from collections import Counter

import openai
import psutil
import pytest

from sdg_helpers.completions import engine, retrying
from sdg_helpers.completions.engine import complete
from sdg_helpers.completions.failed_attempts import RETRY, FailedAttempt
from sdg_helpers.completions.replies import read_reply
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling, ServerGone
from sdg_helpers.errors import SdgError
from tests.helpers.standin import StandIn
from tests.helpers.standin_script import Script
from tests.helpers.watching import at_least, eventually, watchdog

SAMPLING = Sampling(temperature=0.6, top_p=0.95, max_tokens=64)


def request(key, extra="", seed=None):
    return Request(key, [{"role": "user", "content": f"What is {key} + 7? {extra}"}], seed)


def text(asked, size=0):
    """What the server must say to this request."""
    thinking, answer = Script(0.6, size).reply(asked.messages, asked.seed)
    return f"<think>\n{thinking}\n</think>\n\n{answer}"


class Outcomes(dict):
    """key -> Completion or Failure; a key that ends twice is an error."""

    def __init__(self):
        self.order = []

    def __call__(self, asked, outcome):
        assert asked.key not in self, f"{asked.key} ended twice"
        self[asked.key] = outcome
        self.order.append(asked)


def ask(server, requests, **options):
    """complete() with everything recorded: (outcomes, progress)."""
    outcomes = Outcomes()
    limits = Limits(**{"concurrency": 32, "timeout_s": 20.0, **options.pop("limits", {})})
    options = {"on_completion": outcomes, "on_failure": outcomes, "model": "standin", "sampling": SAMPLING, **options}
    progress = complete(requests, options.pop("client", None) or server.client(), limits=limits, **options)
    return outcomes, progress


@pytest.fixture(scope="module")
def plain():
    with StandIn() as server:
        yield server


# --- every kind of reply and failure, all in one run

ANSWERED, SENT = "answered", 3  # max_retries=2: three attempts
CASES = {  # what the server does -> how the request ends, how often it was sent
    "": (ANSWERED, 1),
    "[[500 x2]]": (ANSWERED, 3),
    "[[500]]": ("http_500", SENT),
    "[[502 x1]]": (ANSWERED, 2),
    "[[429 x4]]": (ANSWERED, 5),
    "[[503 x4]]": (ANSWERED, 5),
    "[[400]]": ("http_400", 1),
    "[[413]]": ("http_413", 1),
    "[[403]]": ("http_403", 1),  # a moderated input
    "[[hang x1]]": (ANSWERED, 2),
    "[[hang]]": ("timeout", SENT),
    "[[disconnect x2]]": (ANSWERED, 3),
    "[[disconnect]]": ("disconnected", SENT),
    "[[truncated x1]]": (ANSWERED, 2),
    "[[truncated]]": ("disconnected", SENT),
    "[[cut_json x1]]": (ANSWERED, 2),
    "[[cut_json]]": ("bad_json", SENT),
    "[[garbage x1]]": (ANSWERED, 2),
    "[[garbage]]": ("bad_json", SENT),
    "[[empty x1]]": (ANSWERED, 2),
    "[[empty]]": ("empty_choices", SENT),
    "[[null_content]]": ("empty", SENT),
    "[[no_message]]": ("bad_reply", SENT),
    "[[error_200]]": ("error_in_reply", SENT),
    "[[abort x1]]": (ANSWERED, 2),
    "[[abort]]": ("aborted", SENT),
    "[[huge]]": ("too_long", SENT),
    "[[parts]]": (ANSWERED, 1),
    "[[duplicate]]": (ANSWERED, 1),
}


HANGS = {"[[hang]]", "[[hang x1]]"}
COUNTS = ("done", "failed", "retried", "pushed_back", "in_flight", "waiting")


@pytest.fixture(scope="module")
def every_kind(plain):
    """Requests, their outcomes, the sum of the progress, the server's counts. A server that hangs is given up after a
    short time in runs of its own, so that no other reply can be late."""
    plain.reset()
    requests = [request(number, fault) for number, fault in enumerate(CASES)]
    outcomes, total = {}, Counter()
    for timeout_s, kinds in ((0.5, ["[[hang]]"]), (4.0, ["[[hang x1]]"]), (120.0, CASES.keys() - HANGS)):
        mine = [asked for fault, asked in zip(CASES, requests, strict=True) if fault in kinds]
        found, progress = ask(plain, mine, limits={"max_retries": 2, "timeout_s": timeout_s})
        outcomes.update(found)
        total.update({name: getattr(progress, name) for name in COUNTS})
    return requests, outcomes, total, plain.stats()


@pytest.mark.parametrize("fault", CASES)
def test_every_kind_of_reply_has_the_expected_outcome(every_kind, fault):
    requests, outcomes, _, _ = every_kind
    number = list(CASES).index(fault)
    outcome, (expected, sent) = outcomes[number], CASES[fault]
    if expected == ANSWERED:
        assert isinstance(outcome, Completion), outcome
        assert outcome.text == text(requests[number]) and outcome.finish_reason == "stop"
        assert outcome.completion_tokens > 0 and outcome.prompt_tokens > 0
    else:
        assert isinstance(outcome, Failure) and (outcome.reason, outcome.attempts) == (expected, sent), outcome
        assert outcome.detail


def test_every_kind_adds_up(every_kind):
    requests, outcomes, total, stats = every_kind
    ended = Counter(type(outcome).__name__ for outcome in outcomes.values())
    assert len(outcomes) == len(requests) == total["done"] + total["failed"]
    assert (ended["Completion"], ended["Failure"]) == (total["done"], total["failed"])
    assert stats["requests"] == sum(sent for _, sent in CASES.values())
    assert total["pushed_back"] == 8 and total["in_flight"] == total["waiting"] == 0
    assert total["retried"] == stats["requests"] - len(CASES) - total["pushed_back"]


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("length", lambda got, asked: got.finish_reason == "length" and "</think>" not in got.text),
        ("null_finish", lambda got, asked: got.finish_reason == "unknown" and got.text == text(asked)),
        ("no_usage", lambda got, asked: (got.prompt_tokens, got.completion_tokens) == (0, 0)),
        ("surrogate", lambda got, asked: got.text == text(asked)),
        ("bad_utf8", lambda got, asked: got.text == text(asked)),
    ],
)
def test_odd_replies_are_still_replies(plain, fault, check):
    asked = request(1, f"[[{fault}]]")
    outcomes, _ = ask(plain, [asked])
    assert isinstance(outcomes[1], Completion) and check(outcomes[1], asked), outcomes[1]


def reply_with(field, value):
    """A reply with these bytes as the value of that field."""
    fields = {
        "content": b'"hello"',
        "finish_reason": b'"stop"',
        "prompt_tokens": b"3",
        "completion_tokens": b"4",
        field: value,
    }
    return (
        b'{"choices":[{"message":{"content":%(content)b},"finish_reason":%(finish_reason)b}],"usage":'
        b'{"prompt_tokens":%(prompt_tokens)b,"completion_tokens":%(completion_tokens)b}}'
        % {name.encode(): data for name, data in fields.items()}
    )


def nested(depth):
    return b'[{"text":' * depth + b'""' + b"}]" * depth


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("completion_tokens", b"Infinity", "bad_reply"),
        ("prompt_tokens", b"1e999", "bad_reply"),
        ("completion_tokens", b"NaN", "bad_reply"),
        ("completion_tokens", b'"many"', "bad_reply"),
        ("content", nested(500), "bad_reply"),
        ("content", nested(100_000), "bad_json"),
        ("content", b"7", "bad_reply"),
    ],
)
def test_malformed_reply_is_retried_and_raises_nothing(field, value, reason):
    outcome = read_reply(reply_with(field, value), 1.0)
    assert isinstance(outcome, FailedAttempt) and (outcome.kind, outcome.reason) == (RETRY, reason), outcome


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("finish_reason", b'"content_filter"', "content_filter"),
        ("finish_reason", b'"a\\"b"', "unknown"),
        ("finish_reason", b'"stop\\n"', "unknown"),
        ("finish_reason", b'"' + b"x" * 65 + b'"', "unknown"),
        ("finish_reason", b"7", "unknown"),
        ("completion_tokens", b"5", 5),
        ("completion_tokens", b"-5", 0),
        ("completion_tokens", b"9" * 400, 0),
        ("prompt_tokens", b"1e30", 0),
        ("completion_tokens", b"null", 0),
    ],
)
def test_reply_fields_are_normalised_for_rows(field, value, read):
    outcome = read_reply(reply_with(field, value), 1.0)
    assert isinstance(outcome, Completion) and getattr(outcome, field) == read, outcome


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_separate_reasoning_becomes_the_thinking(field):
    with StandIn(reasoning_field=field) as server:
        outcomes, _ = ask(server, [request(1)])
    thinking, answer = Script(0.6, 0).reply(request(1).messages, None)
    assert outcomes[1].text == f"<think>\n{thinking}\n</think>\n\n{answer}" and outcomes[1].thinking == "apart"


def test_many_faults_lose_and_alter_nothing(monkeypatch):
    monkeypatch.setattr(retrying, "backoff_s", lambda *_: random.uniform(0.01, 0.1))
    faults = "500=0.05,disconnect=0.05,truncated=0.05,cut_json=0.05,empty=0.05,429=0.1,duplicate=0.1,abort=0.02"
    requests = [request(number, seed=number % 3) for number in range(600)]
    with StandIn(faults=faults, latency="0.005", size=30000) as server:
        outcomes, progress = ask(server, iter(requests), limits={"max_retries": 10, "concurrency": 64})
        stats = server.stats()
    assert progress.done == len(outcomes) == 600 and progress.failed == 0
    assert all(outcomes[asked.key].text == text(asked, 30000) for asked in requests)
    assert min(stats["injected"][name.partition("=")[0]] for name in faults.split(",")) > 3
    assert len({asked.key for asked in outcomes.order}) == 600


@pytest.mark.parametrize(
    ("fault", "size", "latency"),
    [("duplicate", 300_000, "0"), *(("late_copy", 3000, late) for late in ("0", "0.003", "0.02"))],
)
def test_unrequested_reply_on_a_kept_connection_is_ignored(fault, size, latency):
    with StandIn(faults=f"{fault}=0.5", size=size, latency=latency) as server:
        requests = [request(number) for number in range(150)]
        outcomes, _ = ask(server, requests, limits={"concurrency": 10, "max_retries": 20})
    assert all(outcomes[asked.key].text == text(asked, size) for asked in requests)


# --- what stops the run


@pytest.mark.parametrize(
    ("options", "client", "fault", "model", "told"),
    [
        ({"key": "right"}, {"api_key": "sk-secret-123"}, "", "standin", ["401", "API key"]),
        ({"strict": True}, {}, "", "stand-in", ["'stand-in'", "only standin", "Did you mean standin?"]),
        ({}, {"base_url": "/elsewhere"}, "", "standin", ["/elsewhere/chat/completions", "/v1", "404"]),
        ({}, {}, "[[301]]", "standin", ["moved", "base_url"]),
        ({}, {}, "[[quota]]", "standin", ["no credit left", "credit"]),
    ],
)
def test_errors_that_affect_every_request_stop_the_run(options, client, fault, model, told):
    pulled = []

    def many():
        for number in range(10_000):
            pulled.append(1)
            yield request(number, fault)

    with StandIn(**options) as server:
        if "base_url" in client:
            client = {"base_url": server.base_url.replace("/v1", client["base_url"])}
        with pytest.raises(SdgError) as error:
            ask(server, many(), client=server.client(**client), model=model, limits={"concurrency": 4})
    assert all(word in str(error.value) for word in told), error.value
    assert len(pulled) < 20
    assert "sk-secret-123" not in str(error.value) and "sk-secret-123" not in repr(error.value)


@pytest.mark.parametrize(("fault", "told"), [("[[400]]", "http_400"), ("[[403]]", "http_403.*check the API key")])
def test_failures_without_one_success_stop_the_run(plain, fault, told):
    pulled = []
    with pytest.raises(SdgError, match=f"24 requests in a row failed.*{told}"):
        ask(plain, (pulled.append(n) or request(n, fault) for n in range(100_000)), limits={"concurrency": 8})
    assert 24 <= len(pulled) <= 32


def test_consecutive_failures_after_a_success_stop_the_run(plain):
    with pytest.raises(SdgError, match="50 requests in a row failed.*http_400"):
        ask(
            plain,
            (request(n, "[[400]]" if n else "") for n in range(100_000)),
            limits={"concurrency": 1, "max_failures_in_a_row": 50},
        )


def test_requests_that_are_too_long_each_in_its_own_way_do_not_stop_the_run(listener):
    """Others may be shorter; the same words for every request mean the settings."""
    said = [f"maximum context length is 4096 tokens, you requested {5000 + n}" for n in range(30)]
    for words, stops in ((said, False), (said[:1] * 30, True)):
        listener.refusals = [(400, {}, {"error": {"message": one}}) for one in words]
        outcomes = Outcomes()
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{listener.server_port}/v1", api_key="x")
        requests = [request(n) for n in range(31)]
        if stops:
            with pytest.raises(SdgError, match="Lower MAX_TOKENS"):
                ask(None, requests, client=client, limits={"concurrency": 1})
        else:
            outcomes, progress = ask(None, requests, client=client, limits={"concurrency": 1})
            assert (progress.failed, progress.done) == (30, 1)
            assert outcomes[0].detail.endswith("Lower MAX_TOKENS.")


def test_a_limit_that_lasts_for_hours_stops_the_run(listener):
    reset = str(int((time.time() + 8 * 3600) * 1000))
    listener.refusals = [(429, {"X-RateLimit-Reset": reset}, {"error": {"message": "free requests per day"}})] * 9
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{listener.server_port}/v1", api_key="x")
    with pytest.raises(ServerGone, match="asks to wait for .*h.*free requests per day"):
        ask(None, [request(n) for n in range(31)], client=client, limits={"concurrency": 2})
    assert len(listener.got) <= 4


def test_server_without_capacity_stops_the_run():
    with StandIn(faults="503=1") as server:
        with pytest.raises(ServerGone, match="no room for a single request"):
            ask(server, (request(n) for n in range(10**6)), limits={"concurrency": 8, "outage_deadline_s": 1.0})
        assert server.stats()["requests"] < 30  # it is left in peace meanwhile


def test_request_that_is_always_pushed_back_fails_at_its_deadline(plain):
    outcomes, _ = ask(
        plain, [request(1, "[[429]]"), *(request(n) for n in range(2, 50))], limits={"pushback_deadline_s": 1.0}
    )
    assert outcomes.pop(1).reason == "pushed_back"
    assert all(isinstance(outcome, Completion) for outcome in outcomes.values()) and len(outcomes) == 48


def test_retry_after_is_honoured():
    with StandIn(retry_after="1") as server, at_least(1.0):
        outcomes, _ = ask(server, [request(1, "[[503 x1]]")])
    assert isinstance(outcomes[1], Completion)


# --- the server goes away


def test_no_server_at_all():
    with StandIn() as server:
        client = server.client(api_key="sk-secret-123")
    with watchdog(), pytest.raises(ServerGone) as error:
        ask(None, [request(1)], client=client, limits={"outage_deadline_s": 1.0, "max_retries": 0})
    assert server.base_url in str(error.value) and "sk-secret" not in str(error.value)


def test_killed_and_restarted_server_loses_no_request():
    outcomes, told, started = Outcomes(), [], []

    def on_completion(asked, completion):
        outcomes(asked, completion)
        if len(outcomes) == 100:
            server.kill()

    def on_progress(progress):
        told.append(progress)
        if "is unreachable" in progress.trouble and not started:
            started.append(threading.Thread(target=server.again))
            started[0].start()

    with StandIn(latency="0.02") as server, watchdog():
        _, progress = ask(
            server,
            (request(n) for n in range(400)),
            on_completion=on_completion,
            on_progress=on_progress,
            limits={"max_retries": 1, "concurrency": 40},
        )
    assert progress.done == len(outcomes) == 400 and progress.failed == 0
    assert started and told[-1].trouble == ""


# --- pace


def test_a_hidden_capacity_is_found_without_losing_a_request():
    """`python -m bench --only slots` measures how much of it is used; test_pacing asserts it in simulation."""
    with StandIn(latency="lognormal:0.05:0.5", capacity=32) as server:
        _, progress = ask(server, (request(number) for number in range(600)), limits={"concurrency": 256})
        assert server.stats()["in_flight_max"] == 32
    assert progress.done == 600 and progress.failed == 0
    assert 224 <= progress.pushed_back < 600 and progress.limit < 256


@pytest.mark.parametrize("faults", ["", "500=0.05"])
def test_slow_requests_leave_no_slot_empty(faults):
    """A slot is filled as soon as it is free, whatever else is slow; what waits for another attempt holds none."""
    pulled, outcomes, taken = [], Outcomes(), []

    def requests():
        for number in range(600):
            pulled.append(number)
            yield request(number)

    def on_completion(asked, completion):
        outcomes(asked, completion)
        if len(pulled) < 600:
            taken.append(len(pulled) - len(outcomes))

    with StandIn(latency="tail:0.1:0.5:0.04", faults=faults) as server:
        _, progress = ask(server, requests(), on_completion=on_completion, limits={"concurrency": 64, "max_retries": 9})
        assert server.stats()["in_flight_max"] <= 64  # fewer where the client itself has to wait for a processor
    assert progress.done == 600 and min(taken) >= 63  # all but the one that has just been answered
    assert max(taken) > 64 if faults else max(taken) == 63


def test_input_is_pulled_only_when_a_slot_is_free():
    outcomes, pulled, ahead = Outcomes(), [], []

    def requests():
        for number in range(500):
            pulled.append(number)
            ahead.append(len(pulled) - len(outcomes))
            yield request(number)

    with StandIn(latency="lognormal:0.005:1") as server:
        ask(server, requests(), on_completion=outcomes, limits={"concurrency": 10})
    assert len(outcomes) == 500 and max(ahead) == 10
    assert [asked.key for asked in outcomes.order] != list(range(500))  # as they come, not as they were asked


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input():
    used = []

    def sample(progress):
        used.append(psutil.Process().memory_info().rss)

    with StandIn(size=4000, no_track=True) as server:
        for count in (3000, 20_000):
            complete(
                (request(n) for n in range(count)),
                server.client(),
                model="standin",
                sampling=SAMPLING,
                limits=Limits(128),
                on_completion=lambda *_: None,
                on_failure=lambda *_: None,
                on_progress=sample,
            )
            if count == 3000:
                before = max(used)
    assert max(used) - before < 12 << 20


# --- stopping, and where it runs


@pytest.mark.parametrize("where", ["on_completion", "on_failure", "on_progress", "requests"])
def test_error_in_a_callback_stops_the_run_and_is_raised(plain, where):
    full = OSError(errno.ENOSPC, "No space left on device")
    calls = []

    def broken(*_):
        calls.append(1)
        raise full

    def requests():
        yield from (request(number, "[[hang]]") for number in range(10))
        yield request(98, "[[400]]" if where == "on_failure" else "")
        if where == "requests":
            broken()
        yield from (request(number, "[[hang]]") for number in range(200, 250))

    plain.reset()
    callbacks = {where: broken} if where != "requests" else {}
    with watchdog(), pytest.raises(OSError) as error:
        ask(plain, requests(), limits={"concurrency": 20, "timeout_s": 600.0}, **callbacks)
    assert error.value is full and calls == [1]
    assert eventually(lambda: plain.stats()["in_flight"] == 0)  # nothing is left running


def no_run_is_left():
    return eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "completions"])


@pytest.mark.parametrize("receiver", ["process", "another thread"])
def test_an_interrupt_stops_the_run(receiver):
    """The system may give a process's signal to any of its threads, while the main thread sleeps."""

    def send():
        if receiver == "process":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    def requests():
        for number in range(100):
            if number == 31:  # all slots are taken
                threading.Timer(0.2, send).start()
            yield request(number, "[[hang]]")

    with StandIn() as server:
        with watchdog(), pytest.raises(KeyboardInterrupt):
            ask(server, requests(), limits={"timeout_s": 600.0})
        assert no_run_is_left() and eventually(lambda: server.stats()["in_flight"] == 0)


@pytest.mark.parametrize("moment", ["before the thread starts", "after it started"])
def test_an_interrupt_while_the_run_starts_leaves_nothing_running(plain, moment, monkeypatch):
    start, pulled = engine._Run.start, []

    def interrupted(run):
        if moment == "after it started":
            start(run)
        raise KeyboardInterrupt

    def requests():
        for number in range(10_000):
            pulled.append(number)
            yield request(number, "[[hang]]")

    monkeypatch.setattr(engine._Run, "start", interrupted)
    with watchdog(), pytest.raises(KeyboardInterrupt):
        ask(plain, requests(), limits={"timeout_s": 600.0})
    assert no_run_is_left() and len(pulled) <= 32


def test_a_thread_that_begins_after_the_interrupt_does_nothing(plain):
    run = engine._Run(None)  # without a dispatcher, it could not do anything
    run.interrupt()
    run.start()
    run.join()
    run.wait()
    assert run.error is None and run.progress is None


def test_inside_a_running_event_loop(plain):
    async def cell():
        return ask(plain, [request(1), request(2)])

    outcomes, _ = asyncio.run(cell())
    assert len(outcomes) == 2


def test_without_uvloop(plain, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    assert len(ask(plain, [request(1), request(2, "[[disconnect x1]]")])[0]) == 2


def test_nothing_to_ask(plain):
    outcomes, progress = ask(plain, [])
    assert not outcomes and progress.done == 0 and progress.latency_p50_s == 0.0


def test_progress_reports_counts_rates_and_latencies():
    told = []
    with StandIn(latency="0.1") as server:
        outcomes, last = ask(
            server, (request(n) for n in range(300)), on_progress=told.append, limits={"concurrency": 16}
        )
    assert len(told) >= 2 and told[-1] == last and last.done == 300
    assert 0 < told[0].done < 300 and told[0].in_flight == told[0].limit == 16
    assert 0.09 <= last.latency_p50_s <= last.latency_p90_s <= last.latency_p99_s <= last.elapsed_s
    tokens = sum(outcome.completion_tokens for outcome in outcomes.values())
    assert last.completion_tokens == tokens and last.tokens_per_s == pytest.approx(tokens / last.elapsed_s)
    assert last.requests_per_s == pytest.approx(300 / last.elapsed_s)


# --- what is sent


@pytest.fixture
def listener():
    """A server that keeps what it is sent, and answers with its `refusals` first."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.got.append(
                (self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"])))
            )
            reply = json.dumps({"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}).encode()
            status, headers, *body = self.server.refusals.pop(0) if self.server.refusals else (200, {})
            reply = json.dumps(body[0]).encode() if body else reply
            self.send_response(status)
            for name, value in {"Content-Length": str(len(reply)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.got, server.refusals = [], []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_client_settings_are_used(listener, monkeypatch, kind):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not come between us and our own machine
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client = kind(
        base_url=f"http://127.0.0.1:{listener.server_port}/v1",
        api_key="the-key",
        default_headers={"X-Team": "blue"},
        default_query={"version": "2"},
    )
    messages = [{"role": "user", "content": "lone \ud83d surrogate, {braces}"}]
    ask(
        None,
        [Request("a", messages, seed=7), Request("b", [{"role": "user", "content": "b"}])],
        client=client,
        sampling=Sampling(temperature=0.0, max_tokens=5, extra_body={"top_k": 3}),
        limits={"concurrency": 1},
    )
    (path, headers, body), (_, _, second) = listener.got
    assert path == "/v1/chat/completions?version=2"
    assert headers["Authorization"] == "Bearer the-key" and headers["X-Team"] == "blue"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "model": "standin",
        "temperature": 0.0,
        "max_tokens": 5,
        "top_k": 3,
        "seed": 7,
        "messages": [{"role": "user", "content": "lone \ufffd surrogate, {braces}"}],
    }
    assert "seed" not in json.loads(second) and "top_p" not in json.loads(second)


@pytest.mark.parametrize("status", [408, 500])
@pytest.mark.parametrize(("deadline_s", "ends"), [(60.0, Completion), (1.0, Failure)])
def test_retry_after_of_an_error_is_honoured_within_the_deadline(listener, status, deadline_s, ends):
    listener.refusals.append((status, {"Retry-After": "2"}))
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{listener.server_port}/v1", api_key="x")
    with at_least(2.0 if ends is Completion else 0.0):
        outcomes, _ = ask(None, [request(1)], client=client, limits={"pushback_deadline_s": deadline_s})
    assert isinstance(outcomes[1], ends) and len(listener.got) == (2 if ends is Completion else 1)


def test_a_prompt_of_some_megabytes(plain):
    asked = Request(1, [{"role": "user", "content": "What is 2 + 2? " + "x" * (3 << 20)}])
    assert isinstance(ask(plain, [asked])[0][1], Completion)


def test_server_that_always_gives_the_same_reply_is_accepted(listener):
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{listener.server_port}/v1", api_key="x")
    outcomes, progress = ask(None, [request(n) for n in range(20)], client=client, limits={"concurrency": 2})
    assert progress.done == 20 and progress.retried <= 1


@pytest.mark.parametrize(
    ("base_url", "hidden"), [("127.0.0.1:8000/v1", ""), ("ftp://host/v1", ""), ("http://me:hush@host/v1", "hush")]
)
def test_invalid_base_url_is_rejected(base_url, hidden):
    class Client:
        pass

    client = Client()
    client.base_url = base_url
    with pytest.raises(SdgError, match="base_url must be http") as error:
        ask(None, [], client=client)
    assert not hidden or hidden not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 0),
        ("concurrency", 2.5),
        ("max_retries", -1),
        ("timeout_s", 0),
        ("outage_deadline_s", -1),
        ("max_failures_in_a_row", 0),
    ],
)
def test_invalid_limits_are_rejected(name, value):
    with pytest.raises(SdgError, match=f"{name} must be "):
        Limits(**{name: value})


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("temperature", -1.0, 0.0),
        ("temperature", float("nan"), None),
        ("top_p", 0.0, 1.0),
        ("top_p", 1.1, 0.01),
        ("max_tokens", 0, 1),
    ],
)
def test_invalid_sampling_is_rejected(name, bad, good):
    Sampling(**{name: good})
    with pytest.raises(SdgError, match=f"{name} must be .*, not {bad}"):
        Sampling(**{name: bad})


def test_messages_that_are_not_json_are_rejected(plain):
    with pytest.raises(SdgError, match="request 'odd': its messages are not plain JSON"):
        ask(plain, [Request("odd", [{"role": "user", "content": {1, 2}}])])


def test_replies_that_come_together_end_in_one_tick(plain):
    """Whoever writes rows may wait for the tick: it comes after every callback, and its error ends the run."""
    waiting, written = [], []

    def on_tick():
        written.append(len(waiting))
        waiting.clear()

    ask(plain, map(request, range(300)), on_completion=lambda asked, _: waiting.append(asked), on_tick=on_tick)
    assert sum(written) == 300 and not waiting and 0 not in written

    def full():
        raise SdgError("the disk is full")

    with pytest.raises(SdgError, match="the disk is full"):
        ask(plain, map(request, range(300)), on_tick=full)
