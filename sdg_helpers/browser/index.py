"""The browser's index: one SQLite file a track, with where every problem and solution lies and what is known of it.

It is a cache in RUN/.browser: built by streaming the track's files, and built again when they have changed.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sdg_helpers.browser.indexing import index_files
from sdg_helpers.browser.sources import Sources
from sdg_helpers.temporary_files import temporary_path

_VERSION = 2  # of the tables

Progress = Callable[[int, int], None]  # (bytes read, bytes in all)


def open_index(sources: Sources, on_progress: Progress = lambda done, total: None) -> Path:
    """Return the path of an index that describes the track's files as they are; build it if need be."""
    state = [_VERSION, sources.state()]
    path = sources.track.folder.parent / ".browser" / f"{sources.track.name}.sqlite"
    if _state_of(path) == state:
        return path
    try:
        path.parent.mkdir(exist_ok=True)
        writable = os.access(path.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:  # somebody else's run
        path = Path(tempfile.mkdtemp(prefix="sdg-browser-")) / path.name
    new = temporary_path(path)
    try:
        with closing(_create(new)) as database:
            index_files(database, sources, on_progress)
            database.execute("INSERT INTO facts VALUES ('state', ?)", (json.dumps(state),))
            database.commit()
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return path


def read_only(path: Path) -> sqlite3.Connection:
    """Open an index for one thread; the file is never changed, only replaced."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def facts_of(database: sqlite3.Connection) -> dict[str, Any]:
    """Return what the index says of the whole track."""
    return {name: json.loads(value) for name, value in database.execute("SELECT name, value FROM facts")}


def _state_of(path: Path) -> list[Any] | None:
    if not path.exists():
        return None
    try:
        with closing(read_only(path)) as database:
            state: list[Any] = facts_of(database)["state"]
            return state
    except (sqlite3.Error, ValueError, KeyError):  # of another version, or damaged: a cache is built again
        return None


def _create(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.absolute().as_uri()}?nolock=1", uri=True)  # locks fail on some network drives
    database.executescript("""
        PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384; PRAGMA page_size = 8192;
        CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
        CREATE TABLE files (number INTEGER PRIMARY KEY, path TEXT);
        CREATE TABLE problems (
            position INTEGER PRIMARY KEY, id TEXT, source TEXT, offset INTEGER, length INTEGER, characters INTEGER,
            reference TEXT, label TEXT, decision TEXT, reason TEXT, confidence REAL, votes INTEGER, seeds INTEGER,
            solutions INTEGER, right INTEGER, wrong INTEGER, undecided INTEGER, cut INTEGER, kept INTEGER,
            tokens INTEGER, dropped INTEGER, tiers INTEGER, pass_rate REAL, cut_share REAL, kept_share REAL);
        CREATE TABLE texts (position INTEGER PRIMARY KEY, start TEXT, folded TEXT);
        CREATE TABLE solutions (
            key INTEGER PRIMARY KEY, file INTEGER, offset INTEGER, length INTEGER, correct INTEGER, how INTEGER,
            predicted TEXT, dropped INTEGER);
        CREATE TABLE replies (position INTEGER, file INTEGER, offset INTEGER, length INTEGER);
        CREATE TABLE failures (position INTEGER, seed INTEGER, reason TEXT, detail TEXT);
        """)
    return database
