"""Growing solutions: which of the rows on disk still hold for more seeds, more problems, or a longer limit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.changes import is_larger
from sdg_helpers.cluster.driver import live_jobs
from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import BLOCK, Check, has_hash
from sdg_helpers.manifests import run_folder_of
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.solutions.rows import problem_bytes, problem_part
from sdg_helpers.solutions.seed_files import seed_files


def only_appended(problems: Path, growth: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a problems file begins with what it held in every earlier state of the stage (Work.growth)."""
    earlier = [state.get("inputs", {}).get("problems", {}) for state in growth]
    return all(_begins_with(problems, one) for one in earlier if has_hash(one))


def _begins_with(path: Path, known: Mapping[str, Any]) -> bool:
    check, left = Check(known), int(known["bytes"])
    with open(path, "rb") as file:
        while left and (block := file.read(min(left, BLOCK))):
            check.update(block)
            left -= len(block)
    return not left and check.passes()


def drop_outdated_rows(folder: Path, problems: Path) -> None:
    """Rewrite the files of all seeds without the solutions of problems that are gone or different now."""
    current = {_digest(problem_bytes(row)) for row in read_problems(problems)}
    for path in (*seed_files(folder).values(), *sorted((folder / "partial").glob("rs*/*.jsonl"))):
        with open(path, "rb", buffering=BLOCK) as source, files.atomic_writer(path) as out:
            for line in source:
                if line.endswith(b"\n") and _digest(problem_part(line)) in current:
                    out.write(line)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def find_outgrown(folder: Path, growth: Sequence[Mapping[str, Any]], max_tokens: int | None) -> frozenset[Path]:
    """Return the files from before a longer limit: their cut solutions are generated again.

    They are listed once, before the first request with the new limit. A file that was merged again since then is not
    among them. Raises SdgError while jobs with the old limit may still write.
    """
    finished = max((number for number, state in enumerate(growth) if "outputs" in state), default=0)
    if not any(is_larger(state["parameters"]["max_tokens"], max_tokens) for state in growth[finished:]):
        return frozenset()
    record = folder / "partial" / f"outgrown-{max_tokens}.json"
    if not record.exists():
        _refuse_live_jobs(folder)
        paths = (*seed_files(folder).values(), *sorted((folder / "partial").glob("rs*/*.jsonl")))
        files.write_json(record, {path.relative_to(folder).as_posix(): _version(path) for path in paths})
    listed = files.read_json(record) or {}
    return frozenset(path for name in listed if (path := folder / name).exists() and _version(path) == listed[name])


def _version(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _refuse_live_jobs(folder: Path) -> None:
    if live := live_jobs(folder):
        raise SdgError(
            f"{folder}: {len(live)} jobs still generate with the earlier token limit. Cancel them with "
            f"`sdg cancel {run_folder_of(folder).name}`, then run again: what they have written is used."
        )
