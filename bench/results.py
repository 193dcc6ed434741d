"""Figures, their tables, and the files that keep them: results.json holds the data, RESULTS.md shows it.

A part that is measured again replaces its own section only.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.targets import Target

ROOT = Path(__file__).resolve().parent.parent
STORE, PAGE = ROOT / "bench/results.json", ROOT / "bench/RESULTS.md"
_HEAD = (
    "# Results\n\n"
    "Written by `python -m bench` (or `make bench`) from `results.json`; `python -m bench --only PART` measures a part "
    "again. × is a ratio to the floor: the bare loop, or merely parsing the same rows. CPU times are of user and "
    "system, so they depend little on what else a machine does; requests/s do.\n"
)


@dataclass(frozen=True)
class Figure:
    """One measured value. subject: a row of the table; measure: its column, with the unit."""

    subject: str
    measure: str
    value: float
    target: Target | None = None

    @property
    def missed(self) -> bool:
        return self.target is not None and not self.target.holds(self.value)


@dataclass
class Part:
    """The figures of a part. notes: what a reader must know: sizes, skipped peers, failures."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conditions: str = ""  # machine, date, commit and load, in one line


def describe_conditions() -> str:
    """Return date, commit, Python, machine and its load in one line."""
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    if _git("status", "--porcelain", "--", "sdg_helpers", "tests/helpers", "bench/*.py"):
        commit += "+changes"
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, commit {commit}, "
        f"Python {platform.python_version()}, {_processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB, "
        f"load {os.getloadavg()[0]:.1f} before"
    )


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table(figures: Iterable[Figure]) -> list[str]:
    """Return the lines of Markdown tables: a row for each subject, a column for each measure.

    A subject that has no measure in common with the rows above it begins another table.
    """
    rows: dict[str, dict[str, Figure]] = {}
    for one in figures:
        rows.setdefault(one.subject, {})[one.measure] = one
    groups: list[tuple[list[str], dict[str, dict[str, Figure]]]] = []
    for subject, row in rows.items():
        if not groups or not set(groups[-1][0]) & row.keys():
            groups.append(([], {}))
        columns, members = groups[-1]
        columns += [measure for measure in row if measure not in columns]
        members[subject] = row
    lines: list[str] = []
    for columns, members in groups:
        lines += [""] * bool(lines) + [f"| | {' | '.join(columns)} |", "|-|" + "-:|" * len(columns)]
        for subject, row in members.items():
            lines.append(f"| {subject} | {' | '.join(_cell(row.get(column)) for column in columns)} |")
    return lines


def targets_table(parts: dict[str, Part]) -> list[str]:
    """Return the lines of a Markdown table of all figures that have a target."""
    lines = ["| part | what | figure | target | |", "|-|-|-:|-:|-|"]
    for name, part in parts.items():
        for one in part.figures:
            if one.target is not None:
                verdict = "**missed**" if one.missed else "met"
                what = f"{one.subject}: {one.measure}"
                lines.append(f"| {name} | {what} | {_number(one.value)} | {one.target} | {verdict} |")
    return lines


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return f"**{_number(figure.value)}**" if figure.missed else _number(figure.value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def section(name: str, part: Part) -> list[str]:
    """Return the lines of a part's section: conditions, notes, table."""
    lines = [f"## {name}", "", part.conditions, ""]
    for note in part.notes:
        lines += [note, ""]
    return lines + (table(part.figures) if part.figures else [])


def load() -> dict[str, Part]:
    """Return the parts that results.json holds, by name."""
    stored: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {}
    return {
        name: Part([_figure(**one) for one in part["figures"]], part["notes"], part["conditions"])
        for name, part in stored.items()
    }


def _figure(subject: str, measure: str, value: float, target: dict[str, Any] | None) -> Figure:
    return Figure(subject, measure, value, target and Target(**target))


def save(parts: dict[str, Part], order: Sequence[str]) -> None:
    """Write results.json and RESULTS.md, with the parts in this order."""
    parts = {name: parts[name] for name in order if name in parts}
    STORE.write_text(json.dumps({name: asdict(part) for name, part in parts.items()}, indent=1) + "\n")
    lines = [_HEAD, "## Targets", "", *targets_table(parts)]
    for name, part in parts.items():
        lines += ["", *section(name, part)]
    PAGE.write_text("\n".join(lines) + "\n")
