"""Which connection carries which request, against a server that counts connections and sends what it should not."""

import asyncio

import pytest

from sdg_helpers.completions.connections import _MAX_REQUESTS
from tests.helpers.raw_server import message, raw_server


def test_good_replies_share_a_connection_up_to_its_limit():
    async def run():
        async with raw_server(lambda question, write, later: write(message(200, question))) as (ask, seen):
            for number in range(_MAX_REQUESTS + 2):
                assert await ask(str(number)) == str(number)
            return [connection for connection, _ in seen]

    assert asyncio.run(run()) == [0] * _MAX_REQUESTS + [1, 1]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_late_copy_answers_no_other_request(framing, copies):
    """The copy arrives while the next reply is awaited, and all true replies would arrive one request too late."""

    def answer(question, write, later):
        if question == "first":
            write(message(200, question, framing))
        elif question == "second":
            write(message(200, "first", framing) * copies)
            later(0.05, message(200, "second", framing))
        else:
            write(message(200, question, framing))

    async def run():
        async with raw_server(answer) as (ask, seen):
            replies = [await ask(question) for question in ("first", "second", "third", "fourth")]
            return replies, [connection for connection, _ in seen]

    replies, connections = asyncio.run(run())
    assert replies == ["first", "duplicate", "third", "fourth"]
    assert connections == [0, 0, 1, 2]  # after the first sign, each request has a connection of its own


@pytest.mark.parametrize("data", [b"H", b"HTTP/1.1 200 OK\r\nContent-", b"\r\n", message(200, "first")])
def test_a_byte_on_an_idle_connection_closes_it(data):
    def answer(question, write, later):
        write(message(200, question))
        if question == "first":
            later(0.02, data)

    async def run():
        async with raw_server(answer) as (ask, seen):
            replies = [await ask("first")]
            await asyncio.sleep(0.2)
            replies += [await ask("second"), await ask("third")]
            return replies, [connection for connection, _ in seen]

    assert asyncio.run(run()) == (["first", "second", "third"], [0, 1, 2])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (message(500, "x"), "http_500"),
        (message(400, "x"), "http_400"),
        (message(200, None)[:-20] + b" " * 20, "bad_json"),
    ],
)
def test_a_failed_attempt_ends_its_connection(reply, reason):
    """A late copy of an error would fail the next request, and shift the replies behind it."""

    def answer(question, write, later):
        write(reply if question == "first" else message(200, question))
        if question == "first":
            later(0.01, reply)

    async def run():
        async with raw_server(answer) as (ask, seen):
            replies = [await ask("first"), await ask("second"), await ask("third")]
            return replies, [connection for connection, _ in seen]

    assert asyncio.run(run()) == ([reason, "second", "third"], [0, 1, 1])


def test_a_server_that_answers_everyone_alike_costs_one_request():
    async def run():
        async with raw_server(lambda question, write, later: write(message(200, "Yes"))) as (ask, seen):
            replies = [await ask(str(number)) for number in range(5)]
            return replies, [connection for connection, _ in seen]

    assert asyncio.run(run()) == (["Yes", "duplicate", "Yes", "Yes", "Yes"], [0, 0, 1, 2, 3])
