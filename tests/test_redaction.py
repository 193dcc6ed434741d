"""Keys in replies that are stored: hidden whole and in halves, while a model's own words stay as they are."""

import asyncio
import json
import random

import pytest

from sdg_helpers.completions.redaction import Redactor
from tests.helpers.raw_server import raw_server
from tests.helpers.standin_script import Script

KEY = "sk-proj-4fD9aQ7xLmZ2tVb8"
HALF = len(KEY) // 2


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"Your key is {KEY}.", "Your key is ***."),
        (f"{KEY}{KEY}", "******"),
        (f"starts with {KEY[:HALF]}…", "starts with ***…"),
        (f"ends in {KEY[HALF:]}", "ends in ***"),
        (f"{KEY[:HALF]}\n{KEY[HALF:]}", "***\n***"),
        (f"the middle: {KEY[3:-3]}!", "the middle: ***!"),
        (f"all but one {KEY[1:]}", "all but one ***"),
    ],
)
def test_a_key_is_hidden_whole_and_in_pieces(text, hidden):
    assert Redactor([KEY]).hide(text) == hidden


def test_a_key_is_hidden_as_it_is_written_in_an_address():
    assert Redactor(["ab+cd/ef==1234567"]).hide("?key=ab%2Bcd%2Fef%3D%3D1234567&x") == "?key=***&x"


@pytest.mark.parametrize("key", [KEY, "none", "EMPTY", "not-needed", "dummy", "x", "", "secret"])
def test_a_text_without_a_key_stays_as_it_is(key):
    words = [
        "none",
        "EMPTY",
        "not-needed",
        "secret",
        "dummy",
        "sk-proj-",
        "sk-",
        KEY[: HALF - 1],
        KEY[-HALF + 1 :],
        "ſ",
        "\n",
    ]
    chosen = random.Random(1)
    for _ in range(200):
        text = " ".join(chosen.choices(words, k=20))
        assert Redactor([key]).hide(text) == text
    thinking, answer = Script(0.6, 20_000).reply([{"role": "user", "content": "What is 1 + 1?"}], 1)
    assert Redactor([key]).hide(thinking) == thinking and Redactor([key]).hide(answer) == answer


def test_a_successful_reply_that_quotes_the_key_is_stored_without_it():
    async def run():
        def answer(question, write, later):
            content = f"Authorization: Bearer {KEY} and {KEY[:HALF]}"
            body = {"message": {"content": content, "reasoning": f"I see {KEY[HALF:]}"}, "finish_reason": "stop"}
            data = json.dumps({"choices": [body]}).encode()
            write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))

        async with raw_server(answer, key=KEY) as (ask, _):
            return await ask("anything", whole=True)

    reply = asyncio.run(run())
    assert reply.text == "<think>\nI see ***\n</think>\n\nAuthorization: Bearer *** and ***"
