"""Start, share and stop embedded servers: one process for equal settings in a run's servers folder."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sdg_helpers import files, processes
from sdg_helpers.errors import SdgError
from sdg_helpers.files import write_private
from sdg_helpers.paths import PACKAGE
from sdg_helpers.processes import usable_cores
from sdg_helpers.serving.embedded import weights
from sdg_helpers.serving.embedded.server_process import ServerFiles
from sdg_helpers.serving.server import Server, served_models
from sdg_helpers.serving.server_specs import EmbeddedSpec

_TAIL_LINES = 20
_children: list[subprocess.Popen[bytes]] = []  # started here; reaped once they exit (_reap_children)


def open_embedded(spec: EmbeddedSpec, folder: Path, on_progress: Callable[[int, int], None] | None = None) -> Server:
    """Start the embedded server of this spec, or attach to the one in `folder`. See serving.open_server."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise SdgError(
            "The engine 'embedded' needs the package xllamacpp, which is not installed: pip install "
            "'sdg-helpers[demo]'."
        )
    gguf, owner = weights.fetch(spec.model, on_progress), processes.owner_pid()
    paths = _server_files(spec, folder.absolute(), gguf)
    with paths.locked():
        processes.register_owner(paths.owners, owner)
        try:
            record = _find_running(paths) or _start(paths, spec, gguf)
        except BaseException:
            processes.remove_owner(paths.owners, owner)
            raise
    return _server(record, paths, partial(_release, paths, owner))


def stop_all(folder: Path) -> int:
    """Stop every embedded server of a folder; return how many were alive."""
    alive = 0
    for path in sorted(folder.glob("embedded-*.json")):
        paths = ServerFiles(folder, path.stem)
        with paths.locked():
            alive += _stop(paths)
    return alive


def _server_files(spec: EmbeddedSpec, folder: Path, gguf: Path) -> ServerFiles:
    """Name a server by its settings, weights and host, since hosts may share a run folder."""
    settings = spec.model_dump(include={"engine", "model", "slots", "context_length", "threads"})
    weights_id = f"{gguf} {gguf.stat().st_size}"
    return ServerFiles(
        folder, f"embedded-{files.content_id(repr(sorted(settings.items())), weights_id, socket.gethostname())}"
    )


def _server(record: dict[str, Any], paths: ServerFiles, stop: Callable[[], None] | None = None) -> Server:
    return Server(
        record["base_url"],
        record["model"],
        "embedded",
        record["api_key"],
        slots=record["slots"],
        pid=record["pid"],
        log_path=paths.log,
        _stop=stop,
    )


def _find_running(paths: ServerFiles) -> dict[str, Any] | None:
    """Return the record of the running server, or None after removing what is left of one that does not answer."""
    import openai

    record = files.read_json(paths.record)
    if record and record.get("base_url") and processes.is_alive(record["pid"], record["started"]):
        try:
            if served_models(_server(record, paths), timeout_s=30) == [record["model"]]:
                return record
        except openai.OpenAIError:
            pass
    _stop(paths)
    return None


def _start(paths: ServerFiles, spec: EmbeddedSpec, gguf: Path) -> dict[str, Any]:
    write_private(
        paths.record,
        {
            "model": spec.served_model,
            "gguf": str(gguf),
            "slots": spec.slots,
            "context_length": spec.context_length,
            "threads": spec.threads or usable_cores(),
            "api_key": secrets.token_urlsafe(24),
        },
    )
    import_path = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": os.pathsep.join(filter(None, import_path))}
    with open(paths.log, "ab") as log:
        log_start = log.tell()
        # A new session: an interrupt in Jupyter or a closed terminal must not reach the server.
        command = [sys.executable, "-m", "sdg_helpers.serving.embedded.server_process", str(paths.record)]
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    _children.append(child)
    try:
        return _wait_until_ready(paths, spec, child, log_start)
    except BaseException:
        child.kill()
        child.wait()
        paths.record.unlink(missing_ok=True)
        raise


def _wait_until_ready(
    paths: ServerFiles, spec: EmbeddedSpec, child: subprocess.Popen[bytes], log_start: int
) -> dict[str, Any]:
    """Return the record once the server answers. Raises SdgError when it exits or misses its deadline."""
    import openai

    end, state = time.monotonic() + spec.deadline_s, "was still loading"
    while time.monotonic() < end:
        if (status := child.poll()) is not None:
            raise _start_failed(paths, log_start, f"exited with status {status}")
        record = files.read_json(paths.record)
        if record.get("base_url"):
            try:
                if (names := served_models(_server(record, paths))) == [record["model"]]:
                    return record
                state = f"served {names}"
            except openai.OpenAIError as error:
                state = f"did not answer ({type(error).__name__}: {error})"
        time.sleep(0.05)
    raise _start_failed(paths, log_start, f"{state} after {spec.deadline_s:g} s")


def _start_failed(paths: ServerFiles, log_start: int, state: str) -> SdgError:
    tail = "\n  ".join(files.read_tail(paths.log, _TAIL_LINES, log_start))
    return SdgError(
        f"The embedded server did not start: it {state}. The end of its log, {paths.log}:\n  {tail}\n"
        "Fix what the log reports; if it only needed longer, raise start_deadline_s."
    )


def _release(paths: ServerFiles, owner: int) -> None:
    """Remove this process as an owner (Server.stop). A driver that owns servers stops them with stop_servers."""
    if owner == os.getpid():
        with paths.locked():
            processes.remove_owner(paths.owners, owner)
            if not processes.any_owner_alive(paths.owners):
                _stop(paths)


def _stop(paths: ServerFiles) -> bool:
    """Stop a server if it is alive, and remove its record; return whether it was alive."""
    record = files.read_json(paths.record) or {}
    alive = "pid" in record and processes.is_alive(record["pid"], record["started"])
    if alive:
        for number, timeout_s in ((signal.SIGTERM, 5), (signal.SIGKILL, 30)):
            if not processes.is_alive(record["pid"], record["started"]):
                break
            os.kill(record["pid"], number)
            end = time.monotonic() + timeout_s
            while processes.is_alive(record["pid"], record["started"]) and time.monotonic() < end:
                time.sleep(0.02)
    _reap_children()
    paths.record.unlink(missing_ok=True)
    return alive


def _reap_children() -> None:
    """Forget children that have exited, so that no zombies are left."""
    _children[:] = [child for child in _children if child.poll() is None]
