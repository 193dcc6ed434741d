"""Open, follow and stop model servers of any engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sdg_helpers.serving.endpoint import open_endpoint
from sdg_helpers.serving.server import Server
from sdg_helpers.serving.server_specs import ServerSpec


def open_server(spec: ServerSpec, folder: Path | str, on_progress: Callable[[int, int], None] | None = None) -> Server:
    """Start a server, or attach to a running one with this spec in `folder`; return once it answers.

    on_progress(bytes done, total bytes): called while weights are downloaded. The server exits by itself once every
    process that opened it (or the driver named by SDG_OWNER_PID) has died.
    Raises SdgError: no weights, not ready by the deadline (with the end of its log), the model is not served.
    """
    from sdg_helpers.serving.embedded import launching
    from sdg_helpers.serving.sglang import supervision

    if spec.engine == "endpoint":
        return open_endpoint(spec)
    if spec.engine == "embedded":
        server = launching.open_embedded(spec, Path(folder), on_progress)
    else:
        server = supervision.open_sglang(spec, Path(folder))
    # Nothing between us and our own server closes silent connections, and reading a stream takes processor time that
    # the server may need.
    server.request = spec.request.model_copy(update={"stream": bool(spec.request.stream)})
    return server


def follow(spec: ServerSpec, folder: Path | str) -> None:
    """Run this node's part of a server until the first rank is done with it. All ranks of a job but the first call it.

    Engines that run on one node have no part here: then it only waits.
    """
    from sdg_helpers.cluster import ranks
    from sdg_helpers.serving.sglang import supervision

    if spec.engine == "sglang":
        supervision.follow_sglang(spec, Path(folder))
    else:
        ranks.idle_unless_first()


def stop_servers(folder: Path | str) -> int:
    """Stop every embedded server started in `folder`, even if in use; return how many were alive."""
    from sdg_helpers.serving.embedded import launching

    return launching.stop_all(Path(folder))
