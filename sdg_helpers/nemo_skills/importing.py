"""Start a run from a folder in the layout of NeMo-Skills (exporting.py lists it), whichever tool wrote it.

Every file is read once, however many stages take something from its rows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import BLOCK, Recorder
from sdg_helpers.nemo_skills.foreign_rows import Sources, all_paths, finished_files, read_rows
from sdg_helpers.nemo_skills.parts import Labels, Part, Problems, Solutions, Verdicts
from sdg_helpers.nemo_skills.row_checks import check_file
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions.seed_files import seed_files
from sdg_helpers.stages import Work

_PARAMETERS = {"imported_from": "nemo-skills"}
_PARTS: dict[str, Callable[[Work, Path, ProblemIndex, ExitStack], Part]] = {
    "solutions": Solutions,
    "judged": Verdicts,
    "relabeled": Labels,
    "rejudged": Verdicts,
}


def import_nemo_skills(folder: Path, run_folder: Path) -> dict[str, int]:
    """Create the stages problems, solutions, judged, relabeled, rejudged and sft, as far as the folder has them.

    A folder that holds only solutions may be given directly. Return the number of rows by stage. Raises SdgError for
    files without their `.done`, chunks of which some may be missing, rows out of order and torn rows.
    """
    track = Track(run_folder / "math", "math")
    folders = {name: folder / name for name in ("solutions", "judged", "relabeled", "rejudged")}
    if not folders["solutions"].is_dir() and seed_files(folder):
        folders["solutions"] = folder
    problems = folder / "problems.jsonl"
    found = {name: finished_files(path, problems) for name, path in folders.items() if path.is_dir()}
    with_text = next((name for name in ("solutions", "judged", "rejudged") if found.get(name)), None)
    if with_text is None and not problems.exists():
        raise SdgError(
            f"{folder}: found neither problems.jsonl nor solutions/output-rs*.jsonl. Give the folder that "
            "`sdg export nemo-skills` or NeMo-Skills wrote."
        )
    rows: dict[str, int] = {}
    if problems.exists():
        rows |= _import_rows(track, {0: [check_file(problems, folder)]}, ["problems"])
    for name, stages in _stages_by_folder(found, with_text, problems.exists()).items():
        rows |= _import_rows(track, found[name], stages)
    if (folder / "sft").is_dir():
        rows["sft"] = _import_sft(track, folder / "sft")
    return rows


def _stages_by_folder(found: dict[str, Sources], with_text: str | None, problems: bool) -> dict[str, list[str]]:
    """Return which stages take something from the rows of each folder, the one with the texts first.

    with_text: its name; problems: whether there is a problems.jsonl.
    """
    stages: dict[str, list[str]] = {name: [] for name in sorted(found, key=lambda name: name != with_text)}
    if with_text:
        stages[with_text] += ["solutions"] if problems else ["problems", "solutions"]
    if "relabeled" in found or "rejudged" in found:
        labels = "relabeled" if found.get("relabeled") or "rejudged" not in found else "rejudged"
        stages[labels].append("relabeled")
    for name in ("judged", "rejudged"):
        if name in found:
            stages[name].append(name)
    return stages


def _import_rows(track: Track, sources: Sources, stages: list[str]) -> dict[str, int]:
    """Make stages from the rows of some files, reading each file once; return the rows of each stage."""
    with ExitStack() as stack:
        works: dict[str, Work] = {}
        for name in stages:
            inputs = {"source": sources[0][0]} if stages == ["problems"] else all_paths(sources)
            inputs = {} if name == "problems" and len(stages) > 1 else inputs
            works[name] = stack.enter_context(track.stage(name).work(_PARAMETERS, inputs, hash_later=True))
        read: dict[Path, dict[str, Any]] = {}
        with ExitStack() as writers:
            parts = _parts(track, works, writers)
            for seed, paths in sources.items() if parts else ():
                rows = read_rows(paths, read)
                for part in parts:
                    rows = part.take(seed, paths, rows)
                deque(rows, maxlen=0)
        for part in parts:
            part.finish(read)
        return {name: _rows_out(work) for name, work in works.items()}


def _parts(track: Track, works: Mapping[str, Work], writers: ExitStack) -> list[Part]:
    """Return what makes each unfinished stage, in the order in which they get a row."""
    path = track.problems / "problems.jsonl"
    todo = {name: work for name, work in works.items() if not work.done}
    parts: list[Part] = []
    if "problems" in todo:
        parts.append(problems := Problems(todo.pop("problems"), path, writers))
        index = problems.index
    elif todo:
        index = ProblemIndex.build(path)
    return parts + [_PARTS[name](work, path, index, writers) for name, work in todo.items()]


def _import_sft(track: Track, folder: Path) -> int:
    """Copy the exported files; their rows are those of the first form, because every form has the same rows."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".jsonl", ".parquet", ".md"))
    paths = [check_file(path, folder.parent) for path in found]
    forms = [path for path in paths if path.name.startswith("sft-data") and path.suffix == ".jsonl"]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    with track.stage("sft").work(_PARAMETERS, names, hash_later=True) as work:
        if not work.done:
            outputs, rows, read = [], 0, {}
            for name, path in names.items():
                outputs.append(work.folder / name)
                recorder = Recorder()
                with files.atomic_writer(outputs[-1]) as out, open(path, "rb") as file:
                    while block := file.read(BLOCK):
                        recorder.update(block)
                        out.write(block)
                        rows += block.count(b"\n") if path in forms[:1] else 0
                    read[path] = recorder.fingerprint(os.fstat(file.fileno()))
            work.finish(rows_in=rows, rows_out=rows, outputs=outputs, read=read)
        return _rows_out(work)


def _rows_out(work: Work) -> int:
    return int(work.manifest["counts"]["rows_out"])
