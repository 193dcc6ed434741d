"""Read the body of a response, whole or as a stream, up to a limit on its size."""

from __future__ import annotations

import asyncio

import aiohttp

from sdg_helpers.completions.continuing import Attempt
from sdg_helpers.completions.event_streams import EventStream

REPLY_CAP_BYTES = 64 << 20  # larger than any sane reply; a broken server must not exhaust our memory
_CLOSING_S = 1.0  # after the last event, for the end of the response, so that its connection can be used again


async def read_whole(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the complete body, or None when it exceeds REPLY_CAP_BYTES."""
    length = response.content_length
    if length is not None and length > REPLY_CAP_BYTES:
        return None  # an unread response closes its connection
    if length is not None and "Content-Encoding" not in response.headers:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > REPLY_CAP_BYTES:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)


async def read_stream(response: aiohttp.ClientResponse, attempt: Attempt | None = None) -> EventStream:
    """Read a streamed reply. A connection that breaks after the model's last word costs nothing."""
    stream = EventStream(REPLY_CAP_BYTES, attempt)
    try:
        async for data in response.content.iter_any():
            stream.feed(data)
            if stream.stopped:
                break
        if stream.stopped and not response.content.at_eof():
            await asyncio.wait_for(response.content.read(), _CLOSING_S)
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        if not stream.ended:
            raise
        response.close()
    return stream
