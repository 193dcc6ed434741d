"""A stage is a folder with a manifest. Once it has begun, other parameters or inputs are rejected."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from sdg_helpers import files, growth, manifests
from sdg_helpers.changes import Change, find_changes
from sdg_helpers.errors import SdgError, UnreadableRow
from sdg_helpers.fingerprints import fingerprint_output, has_hash, write_hashes
from sdg_helpers.formatting import format_duration, progress_text
from sdg_helpers.locks import Lock
from sdg_helpers.manifests import run_folder_of
from sdg_helpers.notebooks.cells import CellBar

_PACKAGES = ("sdg-helpers", "openai", "datasets", "pandas", "pyarrow", "transformers", "xllamacpp")


_only_if_finished = ContextVar("only_if_finished", default=False)


class Stage:
    """One stage of a run: its folder, its name, and the notebook that runs it. Get one from `track.stage("solutions")`.

    `manifest.json` is written last, by rename: a stage with a manifest is complete.
    """

    def __init__(self, folder: Path | str, name: str, notebook: str = ""):
        """notebook: named in errors, e.g. "math/03_generate_solutions"; empty outside a run, as in tests."""
        self.folder, self.name, self.notebook = Path(folder), name, notebook

    @property
    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a complete stage, else None. Raises SdgError for an unreadable one."""
        return manifests.read_manifest(self.folder)

    @property
    def complete(self) -> bool:
        """Whether the manifest exists."""
        return (self.folder / "manifest.json").exists()

    def require(self) -> dict[str, Any]:
        """Return the manifest. Raises SdgError, naming the notebook to run, when the stage is not complete, and
        DamagedStage when its files have changed since."""
        manifest = self.manifest
        if manifest is None:
            state = "unfinished" if (self.folder / "begun.json").exists() else "not begun"
            first = f"notebook {self.notebook}" if self.notebook else "it"
            raise SdgError(f"{self.folder}: stage {self.name!r} is {state}. Run {first} first.")
        manifests.check_outputs(self.folder, manifest)
        return manifest

    @contextmanager
    def work(
        self,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Path | str],
        *,
        may_grow: Collection[str] = (),
        hash_later: bool = False,
    ) -> Iterator[Work]:
        """Begin, resume or grow the stage, under a lock. Raises SdgError when parameters or inputs have changed since
        in a way that does not only add to them, and DamagedStage when files of this stage or of one that it reads are
        not what that stage wrote.

        parameters: what the result depends on, not how fast it is computed; inputs: name -> file to read. may_grow:
        parameters that may become larger, and inputs of which the stage checks itself what has changed; other inputs
        may change when the stage that writes them has grown. hash_later: the stage reads all its inputs from
        their first byte to their last, and gives `Work.finish` the fingerprints, so that nothing is read twice.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with Lock(self.folder / ".lock", f"stage {self.name!r} of {self.folder.parent}"):
            manifest = self.manifest
            if manifest is not None:
                manifests.check_outputs(self.folder, manifest)
            paths = [Path(path) for path in inputs.values()]
            hash_later = hash_later and manifest is None
            fingerprints = [
                manifests.input_fingerprint(path, by_hash=manifest is None, hash_later=hash_later) for path in paths
            ]
            places = [{"path": os.path.relpath(path, self.folder)} for path in paths]
            begun = {
                "stage": self.name,
                "parameters": _plain(parameters),
                "inputs": {name: {**places[i], **fingerprints[i]} for i, name in enumerate(inputs)},
            }
            if _only_if_finished.get() and self._has_work(begun, manifest, may_grow):
                raise Unfinished
            begun, manifest = self._begin(begun, manifest, may_grow)
            with _blame_damaged(paths):
                yield Work(self, begun, manifest, dict(zip(inputs, paths, strict=True)) if hash_later else {})

    def _read_begun(self) -> dict[str, Any] | None:
        path = self.folder / "begun.json"
        begun = files.read_json(path)
        if begun is not None and not isinstance(begun, dict):
            raise SdgError(f"{path}: not a stage's record: {begun!r:.80}. Remove this file, then run again.")
        return begun

    def _has_work(self, begun: dict[str, Any], manifest: dict[str, Any] | None, may_grow: Collection[str]) -> bool:
        """Return whether the stage is to be finished, or to grow. Raises SdgError when neither is allowed."""
        known = manifest or self._read_begun()
        changes = find_changes(known, begun, self.folder, may_grow) if known else []
        if manifest is not None and not all(change.grows for change in changes):
            self._reject(changes, finished=True)
        return manifest is None or bool(changes)

    def _begin(
        self, begun: dict[str, Any], manifest: dict[str, Any] | None, may_grow: Collection[str]
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Compare what is wanted with what is there; return the record to work with, and the manifest if finished."""
        known = manifest or self._read_begun()
        if known is None:
            files.write_json(self.folder / "begun.json", {**begun, "begun_at": _now()})
            return begun, None
        changes = find_changes(known, begun, self.folder, may_grow)
        if not changes:
            return {**begun, **_growth_of(known)}, manifest
        if manifest is None and (earlier := growth.give_up(self.folder, begun)) is not None:
            return begun, earlier
        if not all(change.grows for change in changes):
            self._reject(changes, finished=manifest is not None)
        begun = {**begun, "growth": growth.add_state(known)}
        files.write_json(self.folder / "begun.json", {**begun, "begun_at": _now()})
        if manifest is not None:
            growth.reopen(self.folder, manifest)
        return begun, None

    def _reject(self, changes: list[Change], finished: bool) -> None:
        smaller = (
            ""
            if not any(change.shrinks for change in changes)
            else ("\nA run only grows. To export fewer solutions than it has, set the filter max_seeds.")
        )
        state = "finished" if finished else "begun"
        run, track = run_folder_of(self.folder).name, self.folder.parent.name
        raise SdgError(
            f"{self.folder}: stage {self.name!r} was {state} with other settings.\n  "
            + "\n  ".join(change.line for change in changes)
            + smaller
            + "\nEither restore them, or use another run name, or drop the results of this stage and of those "
            f"that depend on it with `sdg reset {run} {track}/{self.folder.name}`."
        )


class Unfinished(Exception):
    """The stage is not finished, or is to grow."""


@contextmanager
def only_if_finished() -> Iterator[None]:
    """In the body, `Stage.work` raises Unfinished, and changes nothing, unless it would only return the manifest."""
    token = _only_if_finished.set(True)
    try:
        yield
    finally:
        _only_if_finished.reset(token)


def _growth_of(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"growth": record["growth"]} if "growth" in record else {}


class Work:
    """A stage in progress: reports progress, writes the manifest."""

    def __init__(
        self,
        stage: Stage,
        begun: dict[str, Any],
        manifest: dict[str, Any] | None,
        to_read: Mapping[str, Path] | None = None,
    ):
        """to_read: inputs whose fingerprints `finish` gets."""
        self.stage, self.folder, self._to_read = stage, stage.folder, to_read or {}
        self._manifest, self._begun = manifest, begun
        self._start, self._reported, self._bar = time.time(), 0.0, CellBar()

    @property
    def done(self) -> bool:
        """Whether the stage is complete: then return `manifest` and do nothing."""
        return self._manifest is not None

    @property
    def growth(self) -> list[dict[str, Any]]:
        """The states from which this stage has grown, oldest first (see growth.add_state); [] for most stages."""
        return list(self._begun.get("growth", ()))

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest. Raises RuntimeError before the stage is complete."""
        if self._manifest is None:
            raise RuntimeError(f"stage {self.stage.name!r} has no manifest before finish()")
        return self._manifest

    def progress(self, done: int, total: int | None, force: bool = False, **more: Any) -> None:
        """Replace progress.json, which `sdg run` and `sdg status` show: at most once a second unless forced."""
        now = time.time()
        if force or now - self._reported >= 1:
            self._reported = now
            files.write_json(
                self.folder / "progress.json",
                {
                    "done": done,
                    "total": total,
                    "started_at": self._start,
                    "updated_at": now,
                    "pid": os.getpid(),
                    **more,
                },
                sync=False,
            )
            self._bar.show(f"{self.stage.name}: {progress_text({'done': done, 'total': total, **more})}", done, total)

    def forget(self) -> None:
        """Forget that the stage was begun, or that it was to grow, after an error that changed no results: other
        settings are then accepted."""
        (self.folder / "progress.json").unlink(missing_ok=True)
        growth.restore(self.folder)
        (self.folder / "begun.json").unlink(missing_ok=True)

    def finish(
        self,
        *,
        rows_in: int,
        rows_out: int,
        dropped: Mapping[str, int] | None = None,
        outputs: Iterable[Path | str] = (),
        read: Mapping[Path, Mapping[str, Any]] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Check that the counts add up, then write the manifest and return it.

        dropped: rows by reason; outputs: files in the stage's folder; read: fingerprints of the inputs of a stage that
        hashes them later (see Stage.work); more: further keys of the manifest. Raises SdgError when an input has
        changed meanwhile.
        """
        dropped = {reason: int(count) for reason, count in (dropped or {}).items() if count}
        if rows_in != rows_out + sum(dropped.values()):
            raise SdgError(
                f"{self.folder}: the counts of stage {self.stage.name!r} do not add up: {rows_in} rows in, "
                f"{rows_out} out, dropped {dropped}. This is a bug in the cookbook: please report it."
            )
        self._add_hashes(read or {})
        more.setdefault("seconds", round(time.time() - self._start, 3))
        manifest = {
            **self._begun,
            "counts": {"rows_in": int(rows_in), "rows_out": int(rows_out), "dropped": dropped},
            **more,
            "outputs": {Path(path).relative_to(self.folder).as_posix(): self._record(Path(path)) for path in outputs},
            "versions": versions(),
            "finished_at": _now(),
        }
        manifest = _plain(manifest)
        files.write_json(self.folder / "manifest.json", {**manifest, "checksum": manifests.checksum(manifest)})
        growth.finish(self.folder)
        self.forget()
        self._manifest = files.read_json(self.folder / "manifest.json")
        self._bar.close(f"{self.stage.name}: complete after {format_duration(manifest['seconds'])}")
        return self.manifest

    def _add_hashes(self, read: Mapping[Path, Mapping[str, Any]]) -> None:
        """Complete the record of the inputs that were hashed while they were read."""
        for name, path in self._to_read.items():
            known = self._begun["inputs"][name]
            if has_hash(known):
                continue
            if any(read[path][key] != known[key] for key in ("bytes", "mtime_ns")):
                raise SdgError(f"{path}: something else changed this file while it was read. Run again.")
            known.update(read[path])

    def _record(self, path: Path) -> dict[str, Any]:
        """Return the fingerprint of an output; save the hashes of its rows, in their order."""
        found, hashes = fingerprint_output(path)
        if hashes is not None:
            with files.atomic_writer(self.folder / manifests.ROW_HASHES / f"{path.name}.xxh3") as out:
                out.write(write_hashes(hashes))
        return found


@contextmanager
def _blame_damaged(inputs: Iterable[Path]) -> Iterator[None]:
    """When the body fails at something that it has read, say which input is damaged, if one is."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UnreadableRow) or not isinstance(error, (SdgError, OSError)):
            for path in inputs:
                with suppress(OSError):
                    manifests.check_content(path)
        raise


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that influence the data."""
    return dict(_installed_versions())


@cache
def _installed_versions() -> dict[str, str]:
    from importlib import metadata

    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _plain(value: Any) -> Any:
    """The value after a round trip through JSON, so that it compares equal to what was written."""
    import json

    return json.loads(json.dumps(value, default=str))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
