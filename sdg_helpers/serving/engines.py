"""Open a model server, whichever engine stands behind it, and get an openai client for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sdg_helpers.serving.endpoint import open_endpoint
from sdg_helpers.serving.server import Server
from sdg_helpers.serving.server_specs import ServerSpec


def open_server(spec: ServerSpec, folder: Path | str, on_progress: Callable[[int, int], None] | None = None) -> Server:
    """Start a server, or attach to the one with this spec that lives in `folder`; returns when it answers.

    on_progress(bytes done, bytes in all): called while weights are fetched. The server ends by itself when every
    process that opened it has ended (or the driver that SDG_OWNER_PID names), however they ended.
    Raises SdgError: no weights, not ready by the deadline (with the end of its log), the model is not served.
    """
    from sdg_helpers.serving.embedded import launching
    from sdg_helpers.serving.sglang import supervision

    if spec.engine == "endpoint":
        return open_endpoint(spec)
    if spec.engine == "embedded":
        return launching.open_embedded(spec, Path(folder), on_progress)
    return supervision.open_sglang(spec, Path(folder))


def follow(spec: ServerSpec, folder: Path | str) -> None:
    """What every rank of a job but the first calls in place of open_server: this node's part of the server, until the
    first rank has no more use for it. An engine that lives on one node has no part elsewhere: then this only waits."""
    from sdg_helpers.cluster import ranks
    from sdg_helpers.serving.sglang import supervision

    if spec.engine == "sglang":
        supervision.follow_sglang(spec, Path(folder))
    else:
        ranks.idle_unless_first()


def stop_servers(folder: Path | str) -> int:
    """End every server that was started in `folder`, whoever uses it; returns how many were alive."""
    from sdg_helpers.serving.embedded import launching

    return launching.stop_all(Path(folder))
