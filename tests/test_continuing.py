"""Requests that are cut in the middle of their replies continue from the text that has arrived."""

import os
import signal
import threading
import time

import pytest

from sdg_helpers import files
from sdg_helpers.completions.engine import complete
from sdg_helpers.completions.kept_texts import KeptTexts
from sdg_helpers.completions.request_bodies import RequestFit
from sdg_helpers.completions.types import Limits, Request, Sampling
from sdg_helpers.serving.server import Server
from tests.helpers.forks import run_in_child
from tests.helpers.solving import generate, rows_of, write_problems
from tests.helpers.standin import StandIn
from tests.helpers.standin_script import Script
from tests.helpers.tokens import written_twice
from tests.helpers.watching import eventually

SIZE, COUNT = 600, 12
FIT = RequestFit(continue_replies=True)


def request(key):
    return Request(key, [{"role": "user", "content": f"What is {key} + 7?"}], key)


def whole_text(key):
    """What the server writes in one go."""
    thinking, answer = Script(0.6, SIZE).reply(request(key).messages, key)
    return f"<think>\n{thinking}\n</think>\n\n{answer}"


def ask(server, path, keys=range(COUNT), load=(), **limits):
    """Return the outcomes by key, the progress and the texts."""
    texts, outcomes = KeptTexts(path), {}
    texts.take_over(load)
    try:
        progress = complete(
            map(request, keys),
            server.client(),
            model="standin",
            sampling=Sampling(0.0, None, 4096),
            limits=Limits(**{"concurrency": COUNT, "timeout_s": 60.0, **limits}),
            on_completion=lambda asked, reply: outcomes.update({asked.key: reply}),
            on_failure=lambda asked, failure: outcomes.update({asked.key: failure}),
            fit=FIT,
            texts=texts,
        )
    finally:
        texts.close()
    return outcomes, progress, texts


def assert_whole(outcomes, keys=range(COUNT)):
    assert {key: getattr(outcomes[key], "text", outcomes[key]) for key in keys} == {
        key: whole_text(key) for key in keys
    }


@pytest.fixture
def slow(tmp_path):
    with StandIn(size=SIZE, token_s=0.01, log_tokens=tmp_path / "tokens") as server:
        yield server


def bytes_of(path):
    return path.stat().st_size if path.exists() else 0


def test_replies_of_a_server_that_dies_are_continued(slow, tmp_path):
    def die_and_come_back():
        for _ in range(2):
            size = bytes_of(tmp_path / "texts") + 20_000
            eventually(lambda size=size: bytes_of(tmp_path / "texts") > size)
            slow.kill()
            slow.again()

    thread = threading.Thread(target=die_and_come_back)
    thread.start()
    outcomes, progress, _ = ask(slow, tmp_path / "texts")
    thread.join()
    assert_whole(outcomes)
    assert progress.continued > COUNT // 2 and progress.kept_tokens > 5 * COUNT
    assert written_twice(tmp_path / "tokens") == 0
    assert not (tmp_path / "texts").exists()


def test_replies_of_a_node_that_dies_are_continued(slow, tmp_path):
    child = run_in_child(lambda: ask(slow, tmp_path / "first"))
    eventually(lambda: bytes_of(tmp_path / "first") > 20_000)
    os.kill(slow.process.pid, signal.SIGSTOP)  # so that nothing is on its way when both die
    size = -1
    while size != (size := bytes_of(tmp_path / "first")):
        time.sleep(0.3)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    slow.kill()
    slow.again()
    with open(tmp_path / "first", "ab") as file:
        file.write(b'{"reply":"torn')
    outcomes, progress, _ = ask(slow, tmp_path / "second", load=[tmp_path / "first"])
    assert_whole(outcomes)
    assert progress.continued > COUNT // 2 and not (tmp_path / "first").exists()
    assert written_twice(tmp_path / "tokens") == 0


def test_a_reply_that_takes_too_long_is_continued(slow, tmp_path):
    outcomes, progress, _ = ask(slow, tmp_path / "texts", timeout_s=1.0, max_retries=20)
    assert_whole(outcomes)
    assert progress.continued > COUNT // 2
    assert progress.completion_tokens + progress.kept_tokens == sum(
        reply.completion_tokens for reply in outcomes.values()
    )


def test_a_server_that_continues_in_another_way_is_asked_anew(tmp_path):
    with StandIn(size=SIZE, token_s=0.005, drifts=True) as server:
        outcomes, progress, texts = ask(server, tmp_path / "texts")
    assert_whole(outcomes)
    assert progress.continued == 0 and "not the one" in texts.why_not
    assert not (tmp_path / "texts").exists()


def test_a_server_that_does_not_stream_is_asked_as_before(tmp_path):
    with StandIn(size=SIZE) as server:
        outcomes, progress, texts = ask(server, tmp_path / "texts")
    assert_whole(outcomes)
    assert progress.continued == 0 and "does not stream" in texts.why_not


def test_texts_survive_torn_and_damaged_files(tmp_path):
    texts = KeptTexts(tmp_path / "a")
    for number, piece in enumerate(["one ", "two ", "three"], 1):
        texts.add("x", piece, number)
        texts.add("y", piece, number)
        texts.write()
    texts.end("y")
    texts.write()
    data = (tmp_path / "a").read_bytes()
    for end in range(len(data)):
        (tmp_path / "b").write_bytes(data[:end])
        again = KeptTexts(tmp_path / "c")
        again.load([tmp_path / "b"])
        kept = again.find("x")
        assert (kept.text if kept else "") == "one two three"[: (0, 4, 8, 13)[kept.tokens if kept else 0]]
    (tmp_path / "b").write_bytes(data.replace(b"two", b"\0\0\0"))
    again = KeptTexts(tmp_path / "c")
    again.load([tmp_path / "b", tmp_path / "missing"])
    assert again.find("x").text == "one " and again.find("x").tokens == 1
    whole = KeptTexts(tmp_path / "c")
    whole.load([tmp_path / "a"])
    assert whole.find("x").text == "one two three" and whole.find("y") is None


def test_a_text_that_leads_nowhere_is_dropped(tmp_path):
    texts = KeptTexts(tmp_path / "a")
    texts.add("x", "a text", 2)
    for _ in range(4):
        assert texts.find("x").text == "a text"
        texts.failed("x")
    assert texts.find("x") is None


def test_the_file_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr("sdg_helpers.completions.kept_texts._GARBAGE_BYTES", 20_000)
    texts = KeptTexts(tmp_path / "a")
    texts.add("long", "begin ", 1)
    for number in range(500):
        texts.add(f"r{number}", "x" * 400, 100)
        texts.add("long", "more ", number)
        texts.write()
        texts.end(f"r{number}")
        assert bytes_of(tmp_path / "a") < 30_000
    again = KeptTexts(tmp_path / "b")
    again.load([tmp_path / "a"])
    assert again.find("long").text == "begin " + "more " * 500


def test_texts_that_nobody_continues_are_handed_on_for_a_while_only(tmp_path):
    texts = KeptTexts(tmp_path / "0")
    texts.add("x", "a text", 2)
    texts.close()
    for number in range(1, 4):
        texts = KeptTexts(tmp_path / str(number))
        texts.take_over([tmp_path / str(number - 1)])
        assert (texts.find("x") is not None) == (number < 3)
        texts.close()
    assert not list(tmp_path.iterdir())


def test_a_stage_that_is_killed_continues_its_solutions(slow, tmp_path):
    """The rows are those of an undisturbed run; the manifest and continued.jsonl say which were continued."""
    problems = write_problems(tmp_path / "problems.jsonl", 6)
    server = Server(slow.base_url, "standin", "endpoint", "x", request=FIT)

    def solve(folder):
        options = {"sampling": Sampling(0.0, None, 4096), "open_server": lambda: server}
        return generate(problems, tmp_path / folder, None, num_seeds=2, **options)

    solve("undisturbed")
    child = run_in_child(lambda: solve("killed"))
    texts = tmp_path / "killed" / "partial" / "texts"
    eventually(lambda: sum(path.stat().st_size for path in texts.glob("*")) > 10_000)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    manifest = solve("killed")
    assert rows_of(tmp_path / "killed") == rows_of(tmp_path / "undisturbed")
    continued = list(files.read_jsonl(tmp_path / "killed" / "continued.jsonl"))
    assert manifest["requests"]["continued"] == len(continued) > 6
    assert manifest["requests"]["kept_tokens"] == sum(row["kept_tokens"] for row in continued)
    assert not (tmp_path / "undisturbed" / "continued.jsonl").exists()


def test_a_manifest_says_when_texts_could_not_be_kept(slow, tmp_path):
    folder = tmp_path / "stage"
    (folder / "partial").mkdir(parents=True)
    (folder / "partial" / "texts").write_text("not a folder")
    manifest = generate(
        write_problems(tmp_path / "problems.jsonl", 2),
        folder,
        None,
        num_seeds=1,
        sampling=Sampling(0.0, None, 4096),
        open_server=lambda: Server(slow.base_url, "standin", "endpoint", "x", request=FIT),
    )
    assert rows_of(folder)["output-rs0.jsonl"].count(b"\n") == 2
    assert "cannot write" in manifest["requests"]["not_continued"][0]
