"""Read solutions back: as whole rows, or with their long texts unparsed for stages that read millions of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.manifests import is_recorded, read_lines
from sdg_helpers.solutions.rows import Solution, line_start, parse_solution
from sdg_helpers.solutions.seed_files import seed_files


def read_solutions(folder: Path | str, seeds: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of the merged files one at a time: seed by seed, each in problem order.

    seeds: which seeds to read; None: all of them.
    """
    for seed, path in seed_files(folder).items():
        if seeds is None or seed in seeds:
            yield from read_seed_file(path)


def read_seed_file(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of one merged file. Raises DamagedStage after the last one if the file has changed."""
    for number, line in enumerate(read_lines(path), 1):
        yield files.parse_row(line, path, number)


def solutions_of(folder: Path | str, problem_id: str) -> list[dict[str, Any]]:
    """Return all solutions of one problem, by seed. Each file is read up to that problem's row only."""
    start = line_start(problem_id)
    found = []
    for path in seed_files(folder).values():
        with open(path, "rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, 1):
                if line.startswith(start):
                    found.append(files.parse_row(line, path, number))
                    break
    return found


def scan_solutions(path: Path) -> Iterator[Solution]:
    """Yield the solutions of one file without parsing their texts; check the file as `read_seed_file` does."""
    ours = is_recorded(path)
    for number, line in enumerate(read_lines(path), 1):
        yield parse_solution(line, path, number, ours=ours)
