"""Runs on scripted providers: every variant works or ends with a clear error; several servers; TLS; streams."""

import json
import random
import shutil
import ssl
import subprocess
import warnings

import pytest

from sdg_helpers.completions import retrying
from sdg_helpers.completions.cuts import CutWatch
from sdg_helpers.completions.engine import complete
from sdg_helpers.completions.event_streams import EventStream
from sdg_helpers.completions.failed_attempts import FailedAttempt
from sdg_helpers.completions.failures import describe_failures
from sdg_helpers.completions.hints import add_fit, suggest_fit
from sdg_helpers.completions.http_errors import requested_wait_s
from sdg_helpers.completions.redaction import Redactor
from sdg_helpers.completions.replies import read_reply
from sdg_helpers.completions.request_bodies import BodyWriter, RequestFit
from sdg_helpers.completions.types import Completion, Limits, Request, Sampling, ServerGone, Target
from sdg_helpers.errors import SdgError
from sdg_helpers.serving.engines import open_server
from sdg_helpers.serving.server_specs import EndpointSpec
from tests.helpers.provider_variants import PROFILES, VARIANTS
from tests.helpers.providers import KEY, Providers, events
from tests.helpers.standin import StandIn
from tests.providers import MAX_TOKENS, solve, try_variant

CUT = "silent_connections_are_cut"
FIELDS = ["temperature", "top_p", "max_tokens", "seed"]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(retrying, "backoff_s", lambda *_: random.uniform(0.01, 0.05))


@pytest.fixture(scope="module")
def providers():
    with Providers() as server:
        yield server


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != CUT])
def test_every_variant_works_or_ends_with_a_clear_error(providers, name, tmp_path):
    outcome, said = try_variant(name, providers.url, tmp_path)
    assert outcome != "bad", said


def test_thinking_that_the_model_left_open_is_a_row_and_costs_no_attempt():
    body = {"choices": [{"message": {"content": "<think>\\boxed{12}."}, "finish_reason": "stop"}]}
    reply = read_reply(json.dumps(body).encode(), 1.0)
    assert isinstance(reply, Completion) and reply.text == "<think>\\boxed{12}."


def test_a_proxy_that_cuts_silent_connections_costs_no_attempt(providers, tmp_path):
    assert try_variant(CUT, providers.url, tmp_path)[0] == "works"
    assert providers.most_attempts(CUT) == 1


@pytest.mark.slow
def test_profile_of_each_provider_fits_its_requests(providers, tmp_path):
    for name in PROFILES:
        try_variant(name, providers.url, tmp_path / name)
    sent = {name: providers.bodies[name][-1] for name in PROFILES}
    assert sent["openai"]["max_completion_tokens"] == MAX_TOKENS and sent["openai"]["reasoning_effort"] == "high"
    assert sent["mistral"].keys() >= {"random_seed", "temperature", "top_p"} and "seed" not in sent["mistral"]
    assert sent["vllm"]["chat_template_kwargs"] == {"enable_thinking": True} and sent["vllm"]["top_k"] == 20
    assert (
        providers.headers["azure-openai"]["api-key"] == KEY and "Authorization" not in providers.headers["azure-openai"]
    )


def test_headers_and_the_query_of_the_address_are_sent(providers, tmp_path):
    settings = {"request": {"headers": {"X-Team": "blue"}}, "base_url": f"{providers.url}/azure/v1?api-version=7"}
    assert len(solve(settings, tmp_path)) == 10
    assert providers.headers["azure"]["X-Team"] == "blue"


def test_an_odd_list_of_models_is_a_warning(providers, tmp_path):
    with pytest.warns(UserWarning, match="has m-2025-01-01, n, not 'm', but a test question was answered"):
        open_server(EndpointSpec(model="m", base_url=f"{providers.url}/models_dated/v1"), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_server(EndpointSpec(model="m", base_url=f"{providers.url}/reasoning/v1"), tmp_path)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_first_look_and_run_trust_the_same_certificates(tmp_path, monkeypatch):
    files = tmp_path / "own.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with Providers(tls=context) as server:
        settings = {"base_url": f"{server.url}/reasoning/v1"}
        with pytest.raises(SdgError, match="does not trust the server's certificate"):
            solve(settings, tmp_path / "untrusted")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files[0]))
        assert len(solve(settings, tmp_path / "trusted")) == 10


def test_a_socks_proxy_is_refused_before_anything_is_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy:1080")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(SdgError, match="HTTPS_PROXY=socks5://proxy:1080: only http"):
        solve({"base_url": "https://models.example/v1"}, tmp_path)


# --- several servers


def share(targets, count=200, concurrency=20, **limits):
    """Send requests to several servers; return (outcomes, progress)."""
    outcomes = {}
    progress = complete(
        (Request(n, [{"role": "user", "content": f"What is {n} + 7?"}]) for n in range(count)),
        targets,
        model="standin",
        sampling=Sampling(max_tokens=64),
        limits=Limits(concurrency, timeout_s=20.0, **limits),
        on_completion=lambda asked, outcome: outcomes.update({asked.key: outcome}),
        on_failure=lambda asked, outcome: outcomes.update({asked.key: outcome}),
    )
    return outcomes, progress


def test_requests_go_to_the_least_loaded_server_by_weight():
    with StandIn(latency="0.02") as first, StandIn(latency="0.02") as second:
        outcomes, progress = share([Target(first.client(), 3.0), Target(second.client())])
    assert all(isinstance(outcome, Completion) for outcome in outcomes.values()) and len(outcomes) == 200
    done = [progress.servers[server.base_url]["done"] for server in (first, second)]
    assert sum(done) == 200 and 2 <= done[0] / done[1] <= 4.5


def test_a_dead_server_is_left_out_and_comes_back():
    with StandIn(latency="0.02") as living, StandIn(latency="0.02") as dead:
        dead.kill()
        outcomes, progress = share([Target(dead.client()), Target(living.client())])
        assert progress.done == 200 and progress.failed == progress.retried == 0
        assert progress.servers[dead.base_url]["left_out"] >= 1
        dead.again()
        assert share([Target(dead.client()), Target(living.client())])[1].servers[dead.base_url]["done"] > 50


def test_a_failing_server_does_not_attract_the_requests():
    with StandIn(latency="0.02") as good, StandIn(faults="500=1") as bad:
        outcomes, progress = share([Target(bad.client()), Target(good.client())])
        assert progress.done == 200 and bad.stats()["requests"] < 50


def test_a_full_server_passes_requests_on():
    with StandIn(latency="0.05", capacity=2) as small, StandIn(latency="0.02") as large:
        outcomes, progress = share([Target(small.client()), Target(large.client())])
        assert progress.done == 200 and progress.pushed_back == 0
        assert progress.servers[small.base_url]["done"] > 0


def test_a_refused_key_leaves_one_server_out_and_stops_the_run_when_all_refuse():
    with StandIn(latency="0.02") as good, StandIn(key="right") as strict:
        assert share([Target(strict.client()), Target(good.client())])[1].done == 200
        with pytest.raises(SdgError, match="denies access"):
            share([Target(strict.client()), Target(strict.client())])


def test_all_servers_gone_is_an_outage():
    with StandIn() as first, StandIn() as second:
        clients = [Target(first.client()), Target(second.client())]
    with pytest.raises(ServerGone, match="is unreachable"):
        share(clients, outage_deadline_s=0.5)


def test_a_profile_names_several_servers_and_the_manifest_counts_them(providers, tmp_path, monkeypatch):
    monkeypatch.setenv("SECOND_KEY", "sk-second-0123456789")
    urls = [f"{providers.url}/{name}/v1" for name in ("reasoning", "thinking_parts")]
    addresses = [urls[0], {"url": urls[1], "weight": 2, "api_key_env": "SECOND_KEY"}, "http://127.0.0.1:9/v1"]
    assert len(solve({"base_url": addresses}, tmp_path)) == 10
    counts = json.loads((tmp_path / "solutions" / "manifest.json").read_text())["requests"]["servers"]
    assert sum(counts[url]["done"] for url in urls) == 10 and all(counts[url]["done"] for url in urls)
    assert counts["http://127.0.0.1:9/v1"]["done"] == 0
    assert providers.headers["thinking_parts"]["Authorization"] == "Bearer sk-second-0123456789"


# --- the parts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_stream_reads_the_same_in_any_pieces(size, newline):
    text = events(": ping", {"reasoning": "a – b"}, {"content": "c\n\nd"}, {"content": "e"}).replace("\n", newline)
    stream, data = EventStream(1 << 20), text.encode()
    for start in range(0, len(data), size):
        stream.feed(data[start : start + size])
    outcome = stream.finish(1.0)
    assert isinstance(outcome, Completion), outcome
    assert outcome.text == "<think>\na – b\n</think>\n\nc\n\nde"
    assert (outcome.finish_reason, outcome.prompt_tokens, outcome.completion_tokens) == ("stop", 50, 100)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"data: {\n\n", "bad_reply"),
        (b"data: [1]\n\n", "bad_reply"),
        (b'data: {"choices": [{"delta": {"content": 7}}]}\n\n', "bad_reply"),
        (b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', "disconnected"),
        (b'data: {"error": {"message": "m"}}\n\n', "error_in_reply"),
        (b'event: error\ndata: {"error": "m"}\n\n', "error_in_reply"),
        (b"data: " + b"x" * 2000, "too_long"),
        (b"", "disconnected"),
        (b"data: [DONE]\n\n", "empty"),
    ],
)
def test_malformed_streams_are_failures(data, reason):
    stream = EventStream(1000)
    stream.feed(data)
    outcome = stream.finish(1.0)
    assert isinstance(outcome, FailedAttempt) and outcome.reason == reason, outcome


def test_bodies_are_renamed_omitted_and_extended():
    fit = RequestFit(
        rename={"max_tokens": "max_output", "seed": "random_seed"}, omit=("top_p",), extra_body={"top_k": 3}
    )
    writer = BodyWriter("m", Sampling(0.6, 0.9, 5, {"min_p": 0.1}), fit)
    body = json.loads(writer.write(Request(1, [], 7), stream=True, stream_options=True))
    assert body == {
        "model": "m",
        "temperature": 0.6,
        "max_output": 5,
        "min_p": 0.1,
        "top_k": 3,
        "messages": [],
        "random_seed": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"omit": ["messages"]}, "neither renamed nor omitted"),
        ({"rename": {"seed": "s"}, "omit": ["seed"]}, "renamed and omitted"),
        ({"extra_body": {"n": 4}}, "NUM_SEEDS"),
        ({"extra_body": {"stream": True}}, "request: {stream"),
    ],
)
def test_requests_that_cannot_be_fitted_are_rejected(settings, said):
    with pytest.raises(ValueError, match=said):
        RequestFit(**settings)


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Unrecognized request argument supplied: top_p", "omit: [top_p]"),
        ("max_tokens is not supported with this model", "rename: {max_tokens: max_completion_tokens}"),
        ("This model only supports streaming; streaming must be enabled", "stream: true"),
        ("stream is not supported", "stream: false"),
        ("maximum context length is 4096 tokens", "Lower MAX_TOKENS"),
        ("the api-version query parameter is required", "query: {api-version"),
        ("I had a bad day", ""),
    ],
)
def test_hints_name_the_key_of_the_profile(message, hint):
    assert hint in suggest_fit(message, FIELDS) if hint else suggest_fit(message, FIELDS) == ""
    assert not hint or add_fit("HTTP 422: no", message, FIELDS).startswith("HTTP 422: no. ")


@pytest.mark.parametrize(
    "text",
    [
        f"key {KEY} is wrong",
        f"Incorrect key: {KEY[:9]}***{KEY[-9:]}",
        f"url ?key={KEY}&x=1",
        "Authorization: Bearer abcdefgh123456",
        "http://user:hush@proxy:1 failed",
        "key sk-proj-another0123456789",
    ],
)
def test_keys_are_hidden_in_quotations(text):
    said = Redactor([KEY]).quote(text)
    assert "***" in said and not any(part in said for part in (KEY[:9], KEY[-9:], "abcdefgh1", "hush", "another0"))


def test_words_stay_readable_beside_a_placeholder_key():
    assert Redactor(["none"]).quote("none of the models\n is loaded") == "none of the models is loaded"


def test_cuts_are_named_after_the_third_wave_and_not_in_an_outage():
    watch = CutWatch()
    assert not any(watch.note_cut(0.0, 60.0) for _ in range(64))  # all requests in flight fail together
    assert watch.note_cut(61.0, 121.5) == ""
    assert "after 60 s" in watch.note_cut(122.0, 182.0)
    watch.note_completion(90.0)
    assert watch.note_cut(200.0, 260.0) == ""
    assert not any(watch.note_cut(n, n + 0.1) for n in range(100))


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "3"}, b"", 3.0),
        ({"retry-after-ms": "250"}, b"", 0.25),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2.5s"}, b"", 62.5),
        ({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "1m2.5s"}, b"", None),
        ({"X-RateLimit-Reset": "12"}, b"", 12.0),
        ({"X-RateLimit-Reset": "soon"}, b"", None),
        ({}, b'[{"retryDelay": "2s"}]', 2.0),
        ({}, b"", None),
    ],
)
def test_waits_are_read_wherever_servers_put_them(headers, body, seconds):
    assert requested_wait_s(headers, body) == seconds


def test_failures_are_described_by_their_commonest_words():
    rows = [{"reason": "http_400", "detail": f"too long: {n}"} for n in range(3)]
    rows += [{"reason": "http_400", "detail": "odd"}, {"reason": "timeout", "detail": ""}]
    assert describe_failures({"timeout": 1, "http_400": 4}, rows) == "4 × http_400: too long: 0; 1 × timeout"
