"""A server that writes the bytes it is told to write, and counts connections."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import openai

from sdg_helpers.completions.failed_attempts import FailedAttempt
from sdg_helpers.completions.request_bodies import RequestFit
from sdg_helpers.completions.transport import Transport
from sdg_helpers.completions.types import Request, Sampling


def message(status, text, framing="length"):
    body = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
    if framing == "chunked":
        return b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (status, len(body), body)
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@asynccontextmanager
async def raw_server(answer, key="none"):
    """answer(question, write, later): write the reply; later(seconds, data) writes unrequested bytes afterwards.

    Yields a function that asks a question and returns the text or the reason of the failure, and the list of
    (connection, question) that arrived.
    """
    seen, connections, open_writers = [], [], []

    async def serve(reader, writer):
        connections.append(number := len(connections))
        open_writers.append(writer)
        loop = asyncio.get_running_loop()
        while head := await reader.readuntil(b"\r\n\r\n"):
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = json.loads(await reader.readexactly(int(fields[b"Content-Length"])))
            question = body["messages"][0]["content"]
            seen.append((number, question))
            answer(question, writer.write, lambda seconds, data: loop.call_later(seconds, writer.write, data))
            if fields.get(b"Connection") == b"close":
                return writer.close()

    async def quiet(reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)

    listening = await asyncio.start_server(quiet, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key)
    async with Transport(client, "m", Sampling(), 20.0, RequestFit(stream=False)) as transport:

        async def ask(question, whole=False):
            outcome = await transport.attempt(Request(0, [{"role": "user", "content": question}]))
            if whole:
                return outcome
            return outcome.reason if isinstance(outcome, FailedAttempt) else outcome.text

        yield ask, seen
    for writer in open_writers:
        writer.close()
    listening.close()
