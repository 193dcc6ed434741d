"""Ask a server for its list of models, through the connections that the requests will use."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp

from sdg_helpers.completions.failed_attempts import FATAL
from sdg_helpers.completions.request_bodies import RequestFit
from sdg_helpers.completions.transport import Transport
from sdg_helpers.completions.types import Sampling, ServerGone
from sdg_helpers.errors import SdgError


def get_models(client: Any, fit: RequestFit, timeout_s: float) -> tuple[int, bytes]:
    """Return the status and the body of GET /models. Works inside a running event loop, too.

    Raises ServerGone when the server cannot be reached, SdgError when it never will be (an untrusted certificate).
    """

    async def get() -> tuple[int, bytes]:
        async with Transport(client, "", Sampling(), timeout_s, fit) as transport:
            try:
                return await transport.get_models()
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                failure = transport.explain(error)
                raise (SdgError if failure.kind == FATAL else ServerGone)(failure.detail) from None

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, get()).result()
