"""Find the solution behind an exported row, and the exported row of a solution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.thinking import OPEN
from sdg_helpers.errors import SdgError
from sdg_helpers.judging import pass_rates
from sdg_helpers.judging.verdicts import Verdict, read_verdicts
from sdg_helpers.prompts import load_prompt
from sdg_helpers.runs.run import Track
from sdg_helpers.sft.chat_templates import ChatTemplate
from sdg_helpers.sft.expected_errors import ExpectedErrors, read_confidence
from sdg_helpers.sft.export import file_name
from sdg_helpers.sft.filters import Filters
from sdg_helpers.sft.rows import RowFormat, RowMaker
from sdg_helpers.solutions.reading import scan_solutions
from sdg_helpers.solutions.rows import Solution, escape_json, strip_leading_space, unescape_json
from sdg_helpers.solutions.seed_files import seed_files

_SOUGHT = 120  # escaped characters of a text to look for before a line is parsed


@dataclass(frozen=True)
class Found:
    """A solution, with its verdict and how the export treated it.

    row: its number in the SFT file, from 1, None if it is not there; dropped: why not, "" if unknown.
    """

    solution: Solution
    verdict: Verdict | None
    row: int | None
    dropped: str

    @property
    def id(self) -> str:
        """Of the problem."""
        return str(self.solution.keys["id"])

    @property
    def seed(self) -> int:
        """The number of the solution among those of its problem."""
        return int(self.solution.keys["seed"])

    @property
    def text(self) -> str:
        """The reply of the model."""
        return unescape_json(self.solution.text)


def sft_file(track: Track) -> Path:
    """Return the path of the track's exported rows."""
    return track.sft / file_name(track.name, "input_output")


def find_by_row(track: Track, number: int) -> Found:
    """Return the solution behind a row of the SFT file. Raises SdgError when there is no such row or solution."""
    row = _read_row(sft_file(track), number)
    end = (track.stage("sft").require()).get("assistant_end", "")
    output = _without_opening(escape_json(row["output"].removesuffix(end)))
    sought = output[:_SOUGHT]
    maker = row_maker(track)
    for path in seed_files(track.solutions).values():
        for solution in scan_solutions(path):
            if sought not in solution.text or maker.question(solution) not in row["input"]:
                continue
            if _without_opening(maker.whole_text(solution)) == output:
                verdict = find_verdict(track, solution)
                return Found(solution, verdict, number, "")
    raise SdgError(
        f"{sft_file(track)}, row {number}: none of the run's solutions has this text. Were the rows changed, or "
        f"exported by another run? `sdg verify {track.folder.parent.name}` tells."
    )


def find_by_seed(track: Track, problem_id: str, seed: int) -> Found:
    """Return a solution by its problem's id and its seed. Raises SdgError when the run does not have it."""
    paths = seed_files(track.solutions)
    if seed not in paths:
        raise SdgError(f"{track.solutions}: no seed {seed}. Seeds: {', '.join(map(str, paths)) or 'none'}.")
    for solution in scan_solutions(paths[seed]):
        if solution.keys["id"] == problem_id:
            verdict = find_verdict(track, solution)
            return Found(solution, verdict, *_exported(track, solution, verdict))
    failures = files.read_log(track.solutions / "failures.jsonl")
    reason = next((row for row in failures if (row["id"], row["seed"]) == (problem_id, seed)), None)
    if reason:
        raise SdgError(f"{problem_id}, seed {seed}: the request failed ({reason['reason']}: {reason['detail'][:300]}).")
    raise SdgError(f"{paths[seed]}: no solution of the problem {problem_id!r}. Ids are in {track.folder}/problems.")


def find_verdict(track: Track, solution: Solution) -> Verdict | None:
    """Return the last verdict on a solution, None before judging."""
    if (table := track.verdicts()) is None:
        return None
    wanted = solution.keys["id"]
    return next((one for one in read_verdicts(table, int(solution.keys["seed"])) if one.id == wanted), None)


def row_maker(track: Track) -> RowMaker:
    """Return what made the rows of the finished export, from its manifest."""
    known: dict[str, Any] = track.stage("sft").require()["parameters"]
    template = ChatTemplate(known["tokenizer"])
    filters = Filters.parse(known["filters"])
    maker = RowMaker(RowFormat(load_prompt(known["prompt_name"]), template, text_part=known["text_part"]), filters)
    labels = track.folder / "relabeled" / "labels.parquet"
    if labels.exists():
        maker.errors = ExpectedErrors(read_confidence(labels), None)
    table = track.verdicts()
    if table and filters.rate_bounds != (None, None):
        rates = table.with_name("pass_rates.parquet")
        maker.pass_rates = pass_rates.read(rates) if rates.exists() else pass_rates.count(table)
    return maker


def _exported(track: Track, solution: Solution, verdict: Verdict | None) -> tuple[int | None, str]:
    """Return a solution's row in the SFT file, or None and why it was dropped."""
    if track.stage("sft").manifest is None:
        return None, "not exported yet"
    maker = row_maker(track)
    reason = maker.reason_to_drop(solution, verdict)
    if reason is not None:
        return None, reason
    text, problem = _without_opening(maker.whole_text(solution)), escape_json(str(solution.keys.get("problem", "")))
    with open(sft_file(track), "rb", buffering=1 << 20) as file:
        number = next((number for number, line in enumerate(file, 1) if text in line and problem in line), None)
    return number, "" if number else "its text is not in the SFT file"


def _without_opening(text: bytes) -> bytes:
    return strip_leading_space(strip_leading_space(text).removeprefix(OPEN.encode()))


def _read_row(path: Path, number: int) -> dict[str, Any]:
    if not path.exists():
        raise SdgError(f"{path}: no such file. Export the run first, or give the id and seed of a solution.")
    count = 0
    for count, row in enumerate(files.read_jsonl(path), 1):
        if count == number:
            return row
    raise SdgError(f"{path}: no row {number}; rows are numbered from 1 to {count:,}.")
