"""The process of the embedded server: llama.cpp on this machine's CPU.

The same seed gives the same text only for one request at a time: parallel slots share a batch, whose size changes the
last bits of the arithmetic.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files, processes
from sdg_helpers.files import write_private
from sdg_helpers.locks import waiting_lock

_WATCH_S = 0.5
_EXIT_S = 10.0  # if an orderly exit hangs
_PROMPT_CACHE_MIB = 512  # llama.cpp's default of 8 GiB would fill a laptop in a long run


@dataclass(frozen=True)
class ServerFiles:
    """The files of one server in the run's servers folder. The record holds its key and is private to the user."""

    folder: Path
    name: str

    @property
    def record(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def owners(self) -> Path:
        return self.folder / f"{self.name}.owners"

    def locked(self) -> AbstractContextManager[None]:
        return waiting_lock(self.folder / f".{self.name}.lock", "opening a server")


def serve(record_path: Path) -> None:
    """Load the model, write the address into the record, and serve until no owner is alive."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    paths = ServerFiles(record_path.parent, record_path.stem)
    record = {**files.read_json(record_path), "pid": os.getpid(), "started": processes.start_time(os.getpid())}
    write_private(record_path, record)
    watch = threading.Thread(target=_watch, args=(paths,), daemon=True)  # so that a failure below exits at once
    watch.start()
    xllamacpp = _import_xllamacpp()
    try:
        server = xllamacpp.Server(_parameters(record))
    except RuntimeError as error:
        print(f"The server did not start: {error}", flush=True)
        guard = threading.Timer(_EXIT_S, os._exit, (1,))
        guard.daemon = True
        guard.start()
        sys.exit(1)  # llama.cpp writes its log in a thread, and completes it in an orderly exit only
    write_private(record_path, {**record, "base_url": f"{server.listening_address}/v1"})
    watch.join()


def _import_xllamacpp() -> Any:
    """Import llama.cpp's Python package, or exit with what to install: slim images lack a library that it needs."""
    try:
        import xllamacpp
    except ImportError as error:
        missing = str(error).split(":")[0]
        print(f"The package xllamacpp does not load: {error}.", file=sys.stderr)
        if missing == "libgomp.so.1":
            print("Install the system's libgomp: apt-get install libgomp1, or dnf install libgomp.", file=sys.stderr)
        sys.exit(1)
    return xllamacpp


def _watch(paths: ServerFiles) -> None:
    """Exit this process when no owner is alive; under the lock, so that nobody attaches to an exiting server."""
    while True:
        time.sleep(_WATCH_S)
        if processes.any_owner_alive(paths.owners):
            continue
        if not paths.folder.is_dir():
            os._exit(0)
        with paths.locked():
            if not processes.any_owner_alive(paths.owners):
                print("No process needs this server any more: exiting.", flush=True)
                paths.record.unlink(missing_ok=True)
                os._exit(0)


def _parameters(record: dict[str, Any]) -> Any:
    import xllamacpp

    own = xllamacpp.common_params_sampling_config
    parameters = xllamacpp.CommonParams()
    parameters.model.path = record["gguf"]
    parameters.model_alias = {record["model"]}
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.api_keys = [record["api_key"]]
    parameters.n_parallel = record["slots"]
    parameters.n_ctx = record["slots"] * record["context_length"]  # shared by the slots
    parameters.fit_params = False
    parameters.cache_ram_mib = _PROMPT_CACHE_MIB
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads, threads.poll = record["threads"], 0
    # Requests alone decide on sampling: no top_k 40, no min_p 0.05, no settings from the weights' file.
    sampling = parameters.sampling
    sampling.temp, sampling.top_p, sampling.top_k, sampling.min_p = 1.0, 1.0, 0, 0.0
    sampling.user_sampling_config = sum(getattr(own, name) for name in own.__members__)
    # Leave `<think>` in the text, where answers.normalise_reasoning looks for it.
    parameters.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    parameters.use_jinja, parameters.endpoint_metrics, parameters.ui = True, True, False
    return parameters


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
