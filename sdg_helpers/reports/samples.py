"""Solutions to read in a report: exported ones from every source, and some of every reason to drop one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import xxhash

from sdg_helpers import files
from sdg_helpers.answers.thinking import split_thinking
from sdg_helpers.errors import SdgError
from sdg_helpers.formatting import shorten
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict
from sdg_helpers.lineage.finding import row_maker
from sdg_helpers.reports.gathering import order_of
from sdg_helpers.runs.run import Track
from sdg_helpers.sft.rows import RowMaker
from sdg_helpers.solutions.rows import Solution, parse_solution, unescape_json
from sdg_helpers.solutions.seed_files import seed_files

_MAX_BYTES = 256 << 20  # of all solutions together that are read to find samples
_MAX_GROUPS = 200
_LIMIT = 5000  # characters of a text


@dataclass(frozen=True)
class Sample:
    """One solution. dropped: why it is not exported; "" if it is. how: how its answer was judged."""

    problem: str
    source: str
    reference: str
    label: str
    predicted: str
    how: str
    seed: int
    tokens: int
    thinking: str
    answer: str
    dropped: str


def draw_samples(track: Track, exported: int = 20, per_reason: int = 3) -> list[Sample]:
    """Return exported solutions, alternating between the problems' sources, then dropped ones by reason.

    Of a large run only the beginning of each seed's file is read. The choice depends on the data alone. Returns []
    before the export.
    """
    table = track.verdicts()
    if table is None or track.stage("sft").manifest is None:
        return []
    groups: dict[tuple[str, str], list[tuple[str, Sample]]] = {}
    for solution, verdict, reason in _solutions(track, table, row_maker(track)):
        source = str(solution.keys.get("problem_source") or "unknown")
        group = ("", source) if not reason else (reason, "")
        if group not in groups and len(groups) >= _MAX_GROUPS:
            continue
        found = groups.setdefault(group, [])
        place = files.content_id(str(solution.keys["id"]), str(solution.keys.get("seed")))
        most = per_reason if reason else exported
        if len(found) < most or place < found[-1][0]:
            found.append((place, _sample(solution, verdict, reason)))
            found.sort(key=lambda one: one[0])
            del found[most:]
    kept = zip_longest(*(found for (reason, _), found in sorted(groups.items()) if not reason))
    chosen = [one for round_ in kept for one in round_ if one is not None][:exported]
    for (reason, _), found in sorted(groups.items(), key=lambda item: order_of(item[0][0])):
        chosen += found if reason else []
    return [sample for _, sample in chosen]


def _solutions(track: Track, table: Path, maker: RowMaker) -> Iterator[tuple[Solution, Verdict | None, str]]:
    """Yield the first solutions of every seed, with their verdicts and why they are dropped.

    Of equal solutions of a problem, the first is kept, as in the export.
    """
    paths, kept = seed_files(track.solutions), set[tuple[str, int]]()
    for seed, path in paths.items():
        verdicts, read = SeedVerdicts(table, seed), 0
        with open(path, "rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, 1):
                solution = parse_solution(line, path, number)
                verdict = verdicts.find(solution.keys["id"])
                reason = maker.reason_to_drop(solution, verdict) or ""
                if not reason and maker.filters.deduplicate:
                    same = str(solution.keys["id"]), xxhash.xxh3_64_intdigest(maker.whole_text(solution))
                    reason = "duplicate" if same in kept else ""
                    kept.add(same)
                yield solution, verdict, reason
                if (read := read + len(line)) > _MAX_BYTES / len(paths):
                    break


def _sample(solution: Solution, verdict: Verdict | None, reason: str) -> Sample:
    thinking, answer = split_thinking(unescape_json(solution.text))
    return Sample(
        shorten(solution.keys.get("problem"), _LIMIT),
        str(solution.keys.get("problem_source") or ""),
        str(solution.keys.get("expected_answer") or ""),
        verdict.expected_answer if verdict else "",
        (verdict.predicted_answer or "") if verdict else "",
        verdict.how if verdict else "",
        int(solution.keys.get("seed", 0)),
        solution.tokens,
        shorten(thinking, _LIMIT),
        shorten(answer.strip(), _LIMIT),
        reason,
    )


def require_track(run: str, track: Track) -> None:
    """Raise SdgError when a run has not begun this track."""
    if not track.folder.is_dir():
        begun = sorted(path.name for path in track.folder.parent.iterdir() if (path / "problems").is_dir())
        raise SdgError(f"run {run!r} has no track {track.name!r}. It has: {', '.join(begun) or 'none yet'}.")
