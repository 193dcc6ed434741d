"""Start, share, await and end the embedded server's process: one for equal settings in a run's servers folder."""

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
from typing import Any, NoReturn

from sdg_helpers import files, processes
from sdg_helpers.errors import SdgError
from sdg_helpers.files import write_private
from sdg_helpers.paths import PACKAGE
from sdg_helpers.processes import usable_cores
from sdg_helpers.serving.embedded import weights
from sdg_helpers.serving.embedded.server_process import Place
from sdg_helpers.serving.server import Server, served_models
from sdg_helpers.serving.server_specs import EmbeddedSpec

_TAIL_LINES = 20
_children: list[subprocess.Popen] = []  # started here; collected after they have ended (_collect)


def open_embedded(spec: EmbeddedSpec, folder: Path, on_progress: Callable[[int, int], None] | None = None) -> Server:
    """Start the embedded server of this spec, or attach to the one that lives in `folder`. See serving.open_server."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise SdgError(
            "The engine 'embedded' expected the package xllamacpp, found none. "
            "Install it: pip install 'sdg-helpers[demo]'."
        )
    gguf, owner = weights.fetch(spec.model, on_progress), processes.owner_pid()
    place = _place(spec, folder.absolute(), gguf)
    with place.locked():
        processes.register_owner(place.owners, owner)
        try:
            record = _living(place) or _start(place, spec, gguf)
        except BaseException:
            processes.remove_owner(place.owners, owner)
            raise
    return _server(record, place, partial(_release, place, owner))


def stop_all(folder: Path) -> int:
    """End every embedded server of a folder; returns how many were alive."""
    alive = 0
    for path in sorted(folder.glob("embedded-*.json")):
        place = Place(folder, path.stem)
        with place.locked():
            alive += _end(place)
    return alive


def _place(spec: EmbeddedSpec, folder: Path, gguf: Path) -> Place:
    """Equal settings and weights on one host give one server; a run folder may be shared between hosts."""
    settings = spec.model_dump(include={"engine", "model", "slots", "context_length", "threads"})
    weighed = f"{gguf} {gguf.stat().st_size}"
    return Place(folder, f"embedded-{files.content_id(repr(sorted(settings.items())), weighed, socket.gethostname())}")


def _server(record: dict[str, Any], place: Place, stop: Callable[[], None] | None = None) -> Server:
    return Server(
        record["base_url"],
        record["model"],
        "embedded",
        record["api_key"],
        slots=record["slots"],
        pid=record["pid"],
        log_path=place.log,
        _stop=stop,
    )


def _living(place: Place) -> dict[str, Any] | None:
    """The record of the server that answers here; what is left of one that does not is cleared away."""
    import openai

    record = files.read_json(place.record)
    if record and record.get("base_url") and processes.is_alive(record["pid"], record["started"]):
        try:
            if served_models(_server(record, place), timeout_s=30) == [record["model"]]:
                return record
        except openai.OpenAIError:
            pass
    _end(place)
    return None


def _start(place: Place, spec: EmbeddedSpec, gguf: Path) -> dict[str, Any]:
    write_private(
        place.record,
        {
            "model": spec.served_model,
            "gguf": str(gguf),
            "slots": spec.slots,
            "context_length": spec.context_length,
            "threads": spec.threads or usable_cores(),
            "api_key": secrets.token_urlsafe(24),
        },
    )
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with open(place.log, "ab") as log:
        begin = log.tell()
        # A session of its own: an interrupt in Jupyter or a closed terminal is not meant for the server.
        command = [sys.executable, "-m", "sdg_helpers.serving.embedded.server_process", str(place.record)]
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    _children.append(child)
    try:
        return _await(place, spec, child, begin)
    except BaseException:
        child.kill()
        child.wait()
        place.record.unlink(missing_ok=True)
        raise


def _await(place: Place, spec: EmbeddedSpec, child: subprocess.Popen, begin: int) -> dict[str, Any]:
    import openai

    deadline_s = spec.deadline_s
    end, found = time.monotonic() + deadline_s, "it was still loading"
    while time.monotonic() < end:
        if (status := child.poll()) is not None:
            _refuse(place, begin, f"it ended with status {status}")
        record = files.read_json(place.record)
        if record.get("base_url"):
            try:
                if (names := served_models(_server(record, place))) == [record["model"]]:
                    return record
                found = f"it serves {names}"
            except openai.OpenAIError as error:
                found = f"{type(error).__name__}: {error}"
        time.sleep(0.05)
    _refuse(place, begin, f"{found} after {deadline_s:g} s")


def _refuse(place: Place, begin: int, found: str) -> NoReturn:
    with open(place.log, "rb") as log:
        log.seek(begin)
        tail = log.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    raise SdgError(
        f"Expected that the embedded server starts, found: {found}. The end of its log, {place.log}:\n  "
        + "\n  ".join(tail)
        + "\nMend what the log tells; if it only needed longer, raise start_deadline_s."
    )


def _release(place: Place, owner: int) -> None:
    """Server.stop: only this process's claim goes. A driver that owns the server ends it with stop_servers."""
    if owner == os.getpid():
        with place.locked():
            processes.remove_owner(place.owners, owner)
            if not processes.any_owner_alive(place.owners):
                _end(place)


def _end(place: Place) -> bool:
    """End the server of a place, if it lives, and remove its record; True when it was alive."""
    record = files.read_json(place.record) or {}
    alive = "pid" in record and processes.is_alive(record["pid"], record["started"])
    if alive:
        for number, patience_s in ((signal.SIGTERM, 5), (signal.SIGKILL, 30)):
            if not processes.is_alive(record["pid"], record["started"]):
                break
            os.kill(record["pid"], number)
            end = time.monotonic() + patience_s
            while processes.is_alive(record["pid"], record["started"]) and time.monotonic() < end:
                time.sleep(0.02)
    _collect()
    place.record.unlink(missing_ok=True)
    return alive


def _collect() -> None:
    """Let go of children that have ended: no zombies, no warnings about them."""
    _children[:] = [child for child in _children if child.poll() is None]
