"""SGLang continues replies that were cut at random tokens as it would have written them in one go."""

import dataclasses
import random

import aiohttp

from sdg_helpers.completions import transport
from sdg_helpers.completions.kept_texts import KeptTexts
from sdg_helpers.completions.types import Limits, Request, Sampling
from sdg_helpers.serving.engines import open_server

QUESTIONS = [f"{a}+{b}=?" for a in range(1, 5) for b in range(1, 5)] + ["7~7", "7~8", "qqqq", "1+"]


def ask_all(server, path):
    texts, replies = KeptTexts(path), {}
    progress = server.complete(
        [Request(number, [{"role": "user", "content": text}], number) for number, text in enumerate(QUESTIONS)],
        model="adder",
        sampling=Sampling(0.0, None, 200),
        limits=Limits(concurrency=4, timeout_s=300),
        on_completion=lambda asked, reply: replies.update({asked.key: reply}),
        on_failure=lambda asked, failure: replies.update({asked.key: failure}),
        on_progress=lambda progress: None,
        texts=texts,
    )
    texts.close()
    assert texts.why_not == ""
    return replies, progress


def test_replies_cut_at_random_tokens_end_as_in_one_go(spec, tmp_path, monkeypatch):
    server = open_server(spec(request={"continue_replies": True}), tmp_path)
    try:
        whole, _ = ask_all(server, tmp_path / "texts")
        read, draw = transport.read_stream, random.Random(0)

        async def read_some(response, attempt):
            if attempt.greedy_tokens or attempt.kept is not None:
                return await read(response, attempt)
            left, on_text = draw.randrange(1, 8), attempt.on_text

            def stop_early(piece, tokens):
                nonlocal left
                on_text(piece, tokens)
                left -= 1
                if not left:
                    raise aiohttp.ClientPayloadError("cut")

            return await read(response, dataclasses.replace(attempt, on_text=stop_early))

        monkeypatch.setattr(transport, "read_stream", read_some)
        cut, progress = ask_all(server, tmp_path / "texts")
    finally:
        server.stop()
    for number, question in enumerate(QUESTIONS):
        one, other = cut[number], whole[number]
        assert (one.text, one.finish_reason) == (other.text, other.finish_reason), question
        assert one.completion_tokens == other.completion_tokens, question
    assert progress.continued == len(QUESTIONS) == 20
