"""The requests of a batch: in a file for the provider, and in one for us, to find each again by its id.

The id is a hash of what is asked (messages, seed, model, sampling), so that a run that was killed recognises its
requests. Equal requests are numbered; when one of them is merged at the instant of a kill, its reply may be used twice.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from sdg_helpers import exact_json, files
from sdg_helpers.batches.apis import BatchApi
from sdg_helpers.completions.request_bodies import BodyWriter
from sdg_helpers.completions.types import Request


def custom_id(key: str, number: int) -> str:
    """Return the name of a request in its batch."""
    return f"{key}-{number:016x}"


def number_of(name: Any, key: str) -> int:
    """Return the id in a request's name, -1 when it is of another batch or no such name."""
    start, dash, digits = str(name).partition("-")
    try:
        return int(digits, 16) if start == key and dash else -1
    except ValueError:
        return -1


def ids_of(request: Request, settings: str) -> Iterator[int]:
    """Yield the id of a request, then those of further requests equal to it. settings: a hash of model and sampling."""
    asked = json.dumps(request.messages, sort_keys=True, default=str)
    for copy in itertools.count():
        yield int(files.content_id(settings, asked, str(request.seed), str(copy)), 16)


class RequestStore:
    """Requests on disk, for the life of this process, so that memory does not grow with their size."""

    def __init__(self, folder: Path):
        self._folder = folder
        with files.disk_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def append(self, request: Request) -> int:
        """Store a request and return its place."""
        with files.disk_errors(self._folder):
            place = self._file.seek(0, os.SEEK_END)
            pickle.dump(request, self._file)
            self._file.flush()
        return place

    def read(self, place: int) -> Request:
        """Return the request at a place."""
        self._file.seek(place)
        return pickle.load(self._file)

    def close(self) -> None:
        """Delete the requests."""
        self._file.close()


class BatchRequests:
    """The requests of one batch that this run asks for, by id. ids: of all its requests; places: -1 if not asked."""

    def __init__(self, ids: np.ndarray, places: np.ndarray, store: RequestStore):
        order = np.argsort(ids)
        self.ids, self._places, self._store = ids[order], places[order], store

    @classmethod
    def load(cls, path: Path, folder: Path) -> BatchRequests:
        """Return the requests of a batch of an earlier run, none of them asked yet."""
        with open(path, "rb") as file:
            ids = np.load(file)
        return cls(ids, np.full(len(ids), -1, dtype=np.int64), RequestStore(folder))

    @property
    def asked(self) -> int:
        """How many of the requests this run asks for."""
        return int((self._places >= 0).sum())

    @property
    def complete(self) -> bool:
        """Whether this run asks for all of them."""
        return self.asked == len(self.ids)

    def position(self, number: int) -> int:
        """Return the position of an id, -1 when it is not in the batch."""
        if not 0 <= number < 1 << 64:
            return -1
        place = int(np.searchsorted(self.ids, np.uint64(number)))
        return place if place < len(self.ids) and int(self.ids[place]) == number else -1

    def put(self, position: int, request: Request) -> bool:
        """Store the request at a position; False when there is one already."""
        if self._places[position] >= 0:
            return False
        self._places[position] = self._store.append(request)
        return True

    def get(self, position: int) -> Request | None:
        """Return the request at a position; None when this run does not ask for it."""
        place = int(self._places[position])
        return self._store.read(place) if place >= 0 else None

    def close(self) -> None:
        """Delete what was stored."""
        self._store.close()


class InputFile:
    """Writes the file of one batch, which appears when it is closed, and the ids of its requests."""

    def __init__(self, folder: Path, key: str, api: BatchApi, body: BodyWriter, max_requests: int, max_bytes: int):
        self.key, self._folder, self._api, self._body = key, folder, api, body
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self._places: dict[int, int] = {}
        self._store, self._stack = RequestStore(folder), ExitStack()
        self._file = self._stack.enter_context(files.atomic_writer(folder / f"{key}.requests"))
        self._size = self._file.write(api.head)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def add(self, number: int, request: Request) -> bool:
        """Add a request; False when there is no room for it."""
        line = exact_json.dumps(self._api.line(custom_id(self.key, number), self._read_body(request)))
        size = self._size + len(line) + len(self._api.separator) + len(self._api.tail)
        if self._places and (size > self._max_bytes or len(self._places) >= self._max_requests):
            return False
        self._size += self._file.write((self._api.separator if self._places else b"") + line)
        self._places[number] = self._store.append(request)
        return True

    def close(self) -> BatchRequests:
        """Finish the file and return its requests."""
        ids = np.fromiter(self._places.keys(), dtype=np.uint64, count=len(self._places))
        places = np.fromiter(self._places.values(), dtype=np.int64, count=len(self._places))
        with files.atomic_writer(self._folder / f"{self.key}.ids") as out:
            np.save(out, ids)
        self._file.write(self._api.tail)
        self._stack.close()
        return BatchRequests(ids, places, self._store)

    def abandon(self) -> None:
        """Delete what was written."""
        self._stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        self._store.close()

    def _read_body(self, request: Request) -> dict[str, Any]:
        data = self._body.write(request, False, False)
        body: dict[str, Any] = exact_json.loads(data if isinstance(data, bytes) else data.getvalue())
        return body
