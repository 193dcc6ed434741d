"""Serving: a real llama.cpp process with the small model, and endpoints on loopback that misbehave."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from sdg_helpers import processes, serving
from sdg_helpers.errors import SdgError
from sdg_helpers.serving.embedded import weights
from sdg_helpers.serving.engines import open_server, stop_servers
from sdg_helpers.serving.server import ask
from sdg_helpers.serving.server_specs import EmbeddedSpec, EndpointSpec, parse_server_spec
from tests.helpers.watching import eventually

SMALL = "smollm2-135m-instruct"
SPEC = EmbeddedSpec(model=SMALL, slots=2, context_length=512)
REPO = Path(__file__).resolve().parent.parent
# Opens the server (argv: folder), tells its pid, and waits to be killed.
OPENER = f"""
import sys, time, signal
from sdg_helpers.serving import EmbeddedSpec, open_server
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(open_server(EmbeddedSpec(model={SMALL!r}, slots=2, context_length=512), sys.argv[1]).pid, flush=True)
time.sleep(60 if len(sys.argv) < 3 else 0)
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("SDG_GGUF", "SDG_OWNER_PID", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "servers"
    stop_servers(tmp_path / "servers")


def opener(folder, *more, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", OPENER, str(folder), *more],
        cwd=REPO,
        text=True,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def ends(pid, seconds=60):
    """Whether a process ends; `seconds` only where it must not."""
    return eventually(lambda: processes.start_time(pid) is None, seconds)


def post(server, **body):
    with server.blocking_client() as client:
        return client.post("/chat/completions", body={"model": server.model, **body}, cast_to=object)


# The embedded engine: one server for the tests that only look at it.
@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "servers"
    server = open_server(SPEC, folder)
    yield server
    stop_servers(folder)
    assert ends(server.pid)


@pytest.mark.model
def test_embedded_server_answers_and_is_shared(embedded):
    assert ask(embedded, "What is 2+3?") == "2 + 3 = 5"
    again = open_server(SPEC, embedded.log_path.parent)
    assert (again.pid, again.base_url, again.api_key) == (embedded.pid, embedded.base_url, embedded.api_key)
    assert (embedded.model, embedded.slots, embedded.engine) == (SMALL, 2, "embedded")


@pytest.mark.model
def test_server_needs_its_key_and_never_shows_it(embedded):
    record = embedded.log_path.with_suffix(".json")
    assert json.loads(record.read_text())["api_key"] == embedded.api_key and len(embedded.api_key) >= 24
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    stranger = serving.Server(embedded.base_url, SMALL, "endpoint", "guess")
    with pytest.raises(SdgError, match="401"):
        ask(stranger, "What is 2+3?")
    process = psutil.Process(embedded.pid)
    shown = [
        repr(embedded),
        str(embedded),
        embedded.log_path.read_text(),
        *process.cmdline(),
        *process.environ().values(),
    ]
    assert not any(embedded.api_key in text for text in shown)


@pytest.mark.model
def test_thinking_stays_in_the_text_and_sampling_comes_from_the_request(embedded):
    reply = post(
        embedded,
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=40,
        grammar='root ::= "<think>\\na\\n</think>\\nb"',
    )
    assert reply["choices"][0]["message"] == {"role": "assistant", "content": "<think>\na\n</think>\nb"}
    import httpx

    key = {"Authorization": f"Bearer {embedded.api_key}"}
    page = httpx.get(embedded.base_url.replace("/v1", "/props"), headers=key, trust_env=False).json()
    page = page["default_generation_settings"]
    assert page["n_ctx"] == 512
    sampling = page["params"]
    assert [sampling[name] for name in ("temperature", "top_p", "top_k", "min_p")] == [1.0, 1.0, 0, 0.0]


@pytest.mark.model
def test_too_long_prompts_fail_and_cut_answers_say_so(embedded):
    with pytest.raises(SdgError, match="exceeds the available context size"):
        ask(embedded, "word " * 600)
    reply = post(embedded, messages=[{"role": "user", "content": "hi"}], max_tokens=3, grammar='root ::= "a"+')
    assert reply["choices"][0]["finish_reason"] == "length" and reply["usage"]["completion_tokens"] == 3


@pytest.mark.model
def test_the_async_client_inside_a_running_loop(embedded):
    import asyncio

    async def two():
        async with embedded.client(timeout_s=60) as client:
            assert client.max_retries == 0
            return await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model=SMALL,
                        messages=[{"role": "user", "content": "What is 2+3?"}],
                        max_tokens=10,
                        temperature=0,
                    )
                    for _ in range(2)
                )
            )

    assert [reply.choices[0].message.content for reply in asyncio.run(two())] == ["2 + 3 = 5"] * 2


def test_a_server_whose_library_does_not_load_ends_at_once(tmp_path):
    """Slim images lack libgomp1: the start must fail with that message, not wait for its deadline."""
    (tmp_path / "xllamacpp.py").write_text('raise ImportError("libgomp.so.1: cannot open shared object file")')
    record = tmp_path / "server.json"
    record.write_text("{}")
    processes.register_owner(tmp_path / "server.owners", os.getpid())
    started = subprocess.run(
        [sys.executable, "-m", "sdg_helpers.serving.embedded.server_process", str(record)],
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPO}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode == 1 and "Traceback" not in started.stderr
    assert "libgomp.so.1" in started.stderr and "apt-get install libgomp1" in started.stderr


@pytest.mark.model
def test_each_spec_gets_a_separate_server(embedded):
    other = open_server(SPEC.model_copy(update={"slots": 1}), embedded.log_path.parent)
    assert other.pid != embedded.pid and other.slots == 1
    other.stop()
    assert ends(other.pid) and processes.start_time(embedded.pid) is not None


@pytest.mark.model
def test_server_dies_with_its_last_owner_but_not_on_an_interrupt(folder):
    first, second = opener(folder), opener(folder)
    pids = {int(first.stdout.readline()), int(second.stdout.readline())}
    assert len(pids) == 1  # opened at the same time, started once
    pid = pids.pop()
    for process in (first, second):
        os.killpg(process.pid, signal.SIGINT)
    os.kill(first.pid, signal.SIGKILL)  # a zombie until it is waited for, below: dead all the same
    assert not ends(pid, seconds=1.5)
    os.kill(second.pid, signal.SIGKILL)
    assert ends(pid)
    assert not list(folder.glob("embedded-*.json"))
    for process in (first, second):
        process.wait()
        process.stdout.close()


@pytest.mark.model
@pytest.mark.slow
def test_notebooks_of_one_driver_use_one_server(folder):
    mine = {"SDG_OWNER_PID": str(os.getpid())}
    found = [
        subprocess.run(
            [sys.executable, "-c", OPENER, str(folder), "end at once"],
            cwd=REPO,
            text=True,
            check=True,
            capture_output=True,
            env={**os.environ, **mine},
        ).stdout
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert not ends(int(found[0]), seconds=1.2)  # every notebook has ended, the driver lives
    assert stop_servers(folder) == 1 and ends(int(found[0])) and stop_servers(folder) == 0


@pytest.mark.model
def test_stop_keeps_a_server_that_others_use(folder):
    other, mine = opener(folder), open_server(SPEC, folder)
    assert int(other.stdout.readline()) == mine.pid
    mine.stop()
    assert not ends(mine.pid, seconds=1.2)
    other.kill()
    other.wait()
    other.stdout.close()
    assert ends(mine.pid)


@pytest.mark.model
def test_a_server_that_died_is_started_again(folder):
    first = open_server(SPEC, folder)
    os.kill(first.pid, signal.SIGKILL)
    second = open_server(SPEC, folder)
    assert second.pid != first.pid and ask(second, "What is 2+3?") == "2 + 3 = 5"


@pytest.mark.model
def test_error_for_broken_weights_quotes_the_server_log(folder, tmp_path, monkeypatch):
    broken = tmp_path / "broken.gguf"
    with open(weights.fetch(SMALL), "rb") as whole:
        broken.write_bytes(whole.read(10_000_000))
    monkeypatch.setenv("SDG_GGUF", str(broken))
    assert SPEC.served_model == "broken"
    with pytest.raises(
        SdgError, match=r"exited with status 1(.|\n)*embedded-\w+\.log:\n(.|\n)*corrupted or incomplete"
    ):
        open_server(SPEC, folder)
    assert not list(folder.glob("*.json"))


@pytest.mark.model
def test_server_that_loads_too_long_is_stopped(folder):
    with pytest.raises(SdgError, match=r"still loading after 0\.05 s(.|\n)*raise start_deadline_s"):
        open_server(SPEC.model_copy(update={"start_deadline_s": 0.05}), folder)
    assert not list(folder.glob("*.json"))
    assert not [p for p in psutil.Process().children() if any(str(folder) in word for word in p.cmdline())]


def test_missing_driver_process_is_rejected(folder, monkeypatch):
    monkeypatch.setenv("SDG_OWNER_PID", "999999999")
    with pytest.raises(SdgError, match="SDG_OWNER_PID=999999999 is not a running process"):
        processes.owner_pid()


def test_reused_pid_is_not_the_owner(tmp_path):
    processes.register_owner(tmp_path, os.getpid())
    assert processes.any_owner_alive(tmp_path)
    (tmp_path / str(os.getpid())).write_text("another start")
    assert not processes.any_owner_alive(tmp_path)


# Endpoints.
class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.keys.append(self.headers.get("Authorization"))
        answers = self.server.pages.get(self.path, (404, {}))
        status, body = answers.pop(0) if isinstance(answers, list) else answers
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.path = "/v1/models" if self.server.pages.get("/v1/models", (0,))[0] == 401 else self.path
        self.do_GET()

    def log_message(self, *_):
        pass


@contextmanager
def endpoint(pages):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.pages, server.keys = pages, []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def models(*names):
    return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


@pytest.mark.parametrize(
    ("pages", "path", "said"),
    [
        ({"/v1/models": models("Qwen/Qwen3-8B", "b")}, "/v1", r"only Qwen/Qwen3-8B, b \(HTTP 404.*Did you mean Qwen/Q"),
        ({"/v1/models": models(*map(str, range(20)))}, "/v1", "only 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"),
        ({"/v1/models": models()}, "/v1", "only none"),
        (
            {"/v1/models": (401, {"error": {"message": "bad key sk-mine"}})},
            "/v1",
            r"denies access \(HTTP 401: bad key \*\*\*\).*read from MY_KEY",
        ),
        ({"/v1/models": (403, {})}, "/v1", r"/chat/completions does not exist \(HTTP 404: .*MY_KEY"),
        (
            {"/v1/models": (500, {})},
            "/v1",
            r"/chat/completions does not exist.*ends in /v1",
        ),
        ({"/v1/models": (400, {"error": "odd"})}, "/v1", "/chat/completions does not exist"),
        ({"/v1/models": models("Qwen/Qwen3-8B-FP8")}, "", r"but http://127.0.0.1:\d+/v1 is\. Did you mean that one\?"),
        ({"/models": (200, "<html>"), "/v1/models": models("m")}, "/", "Did you mean that one"),
    ],
)
def test_unusable_endpoints_are_rejected(pages, path, said, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", "sk-mine")
    with endpoint(pages) as (_, url):
        spec = EndpointSpec(model="Qwen/Qwen3-8B-FP8", base_url=url + path, api_key_env="MY_KEY", start_deadline_s=1)
        with pytest.raises(SdgError, match=said) as error:
            open_server(spec, tmp_path)
    assert "sk-mine" not in str(error.value)


@pytest.mark.parametrize(
    "pages", [{"/v1/models": models("a", "m")}, {"/v1/models": [(503, {}), (429, {}), models("m")]}]
)
def test_usable_endpoints_are_opened(pages, monkeypatch, tmp_path):
    with endpoint(pages) as (fake, url):
        monkeypatch.setenv("OPENAI_BASE_URL", url + "/v1/")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
        server = open_server(EndpointSpec(model="m"), tmp_path)
        assert (server.base_url, server.model, server.pid, server.slots) == (url + "/v1", "m", None, None)
        assert set(fake.keys) == {"Bearer sk-mine"} and "sk-mine" not in repr(server)
        server.stop()  # not ours: nothing happens
    assert not list(tmp_path.iterdir())


def test_an_endpoint_on_this_machine_needs_no_key(tmp_path):
    with endpoint({"/v1/models": models("m")}) as (_, url):
        assert open_server(EndpointSpec(model="m", base_url=url + "/v1"), tmp_path).model == "m"


@pytest.mark.parametrize(
    ("spec", "environment", "said"),
    [
        ({}, {}, "base_url in the profile, or the environment variable OPENAI_BASE_URL"),
        ({}, {"OPENAI_BASE_URL": "localhost:8000/v1"}, "OPENAI_BASE_URL: base_url must be an address such as"),
        ({"base_url": "https://models.example/v1"}, {}, r"OPENAI_API_KEY, .*is not set.*export OPENAI_API_KEY="),
        (
            {"base_url": "https://models.example/v1", "api_key_env": "K"},
            {"OPENAI_API_KEY": "k", "K": " "},
            "variable K,",
        ),
        ({"base_url": "http://127.0.0.1:9/v1"}, {}, r"within 0.5 s: ClientConnectorError: .*Check the address"),
    ],
)
def test_incomplete_endpoint_settings_are_rejected(spec, environment, said, monkeypatch, tmp_path):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SdgError, match=said):
        open_server(EndpointSpec(model="m", start_deadline_s=0.5, **spec), tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"base_url": "http://x/v1"}, r"embedded.base_url\n +Extra inputs are not permitted"),
        ({"engine": "endpoint", "slots": 4}, r"endpoint.slots\n +Extra inputs are not permitted"),
        ({"engine": "endpiont"}, r"unknown engine 'endpiont'; choose from .* Did you mean endpoint\?"),
        ({"engine": "endpoint", "base_url": "http://me:secret@x/v1"}, r"must not contain a user name or password"),
        ({"slots": 0}, "greater than 0"),
        ({"modle": "x"}, "modle"),
        ({"model": ""}, "at least 1 character"),
    ],
)
def test_spec_rejects_keys_that_its_engine_does_not_read(values, said):
    with pytest.raises(ValidationError, match=said) as raised:
        parse_server_spec({"model": "m", **values})
    assert "secret" not in str(raised.value)
