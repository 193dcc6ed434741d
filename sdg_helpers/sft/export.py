"""Stage 07: join solutions and verdicts, filter, render and shuffle them into data for fine-tuning, with its card."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from sdg_helpers import files, paths
from sdg_helpers.adaptive.pass_rates import read_pass_rates, sampling_tables
from sdg_helpers.errors import SdgError
from sdg_helpers.judging import pass_rates as rate_tables
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict
from sdg_helpers.manifests import is_recorded, read_lines, run_folder_of
from sdg_helpers.sft import rl_data
from sdg_helpers.sft.columns import convert
from sdg_helpers.sft.dataset_cards import (
    DatasetCard,
    ExportCounts,
    ExportParameters,
    Facts,
    write_card,
    write_parquet_card,
)
from sdg_helpers.sft.expected_errors import ExpectedErrors, read_confidence
from sdg_helpers.sft.filters import REASONS, Filters
from sdg_helpers.sft.forms import FORMS, Line, file_name, schema_of
from sdg_helpers.sft.rows import RowFormat, RowMaker, shuffle_key
from sdg_helpers.sft.shuffling import Excerpt, ShuffledRows
from sdg_helpers.sft.tables import Table
from sdg_helpers.sft.template_checks import check_files
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.rows import Solution, parse_solution
from sdg_helpers.stages import Stage, Work

_RATE_KEYS = ("pass_rate", "pass_rate_samples")  # extra keys of a row that need pass rates
# Keys of a row with its problem's id and reference answer, where they are not `id` and `expected_answer`.
_COUNTED_KEYS = {"genselect": ("problem_id", "original_expected_answer")}


def export_sft(
    solutions: Stage,
    verdicts: Path,
    stage: Stage,
    *,
    row_format: RowFormat,
    card: DatasetCard,
    track: str = "math",
    filters: Filters | Mapping[str, Any] | None = None,
    pass_rates: Path | None = None,
    labels: Path | None = None,
    decisions: Path | None = None,
    rl_problems: Path | None = None,
    shuffle_seed: int = 42,
    parquet: bool = False,
) -> dict[str, Any]:
    """Write sft-data-{track}.jsonl (input, output, expected_answer), the card README.md, and optional further files.

    verdicts: verdicts.parquet, which says which solutions are correct. Every form has a file, with the same rows in the
    same order; sft/forms.py names them. pass_rates: pass_rates.parquet, for the pass-rate filters and the extra keys
    "pass_rate" and "pass_rate_samples"; None: estimate them from the verdicts, without bias also after adaptive
    sampling. labels: labels.parquet, whose confidences say how many rows are
    probably wrong; decisions: a person's decisions on verdicts, which sharpen that. rl_problems: problems.jsonl, to
    write rl-data-{track}.jsonl too (problem, expected_answer, pass_rate, pass_rate_samples), and the same problems as
    parquet/rl-data-{track}-verl-*.parquet. parquet: write each file as Parquet too, in the folder
    parquet; this happens anyway when dates would be misread from JSONL. Rows and order depend only on the data and
    shuffle_seed.
    Return the manifest; its `template_checks` say what a trainer sees. Raises SdgError when a setting is wrong or no
    solution is kept.
    """
    solutions.require()
    filters = Filters.parse(filters or {})
    seeds = seed_files.seed_files(solutions.folder)
    maker = RowMaker(row_format, filters)
    parameters: ExportParameters = {
        "tokenizer": row_format.template.name,
        "chat_template": row_format.template.id,
        "prompt": maker.prompt.id,
        "prompt_name": row_format.prompt.name,
        "filters": filters.as_parameters(),
        "forms": list(row_format.forms),
        "extra_keys": list(row_format.extra_keys),
        "shuffle_seed": shuffle_seed,
        "rl_form": rl_problems is not None,
        "track": track,
        "licence": card.licence,
        "dataset_name": card.name,
        "provenance": dict(card.provenance),
        "text_part": row_format.text_part,
        "parquet": parquet,
    }
    inputs = {
        **{path.name: path for path in seeds.values()},
        "verdicts": verdicts,
        **({"pass_rates": pass_rates} if pass_rates else sampling_tables(solutions)),
        **({"labels": labels} if labels else {}),
        **({"decisions": decisions} if decisions and decisions.exists() else {}),
        **({"problems": rl_problems} if rl_problems else {}),
    }
    if filters.remove_contaminated and filters.contamination_file:
        inputs["contamination_file"] = paths.resolve_path(filters.contamination_file)
    with stage.work(parameters, inputs) as work:
        if not work.done:
            needs_rates = filters.rate_bounds != (None, None) or not {*_RATE_KEYS}.isdisjoint(maker.extra_keys)
            rates: dict[str, rate_tables.PassRate] = {}
            if needs_rates or rl_problems:
                rates = rate_tables.read(pass_rates) if pass_rates else read_pass_rates(solutions, verdicts)
            maker.pass_rates = rates if needs_rates else {}
            maker.origin = _origin(solutions)
            if labels:
                maker.errors = ExpectedErrors(read_confidence(labels), decisions)
            tables, counts = _write_rows(work, maker, seeds, verdicts, shuffle_seed, track)
            checks = check_files(
                row_format.template, {form: work.folder / file_name(track, form) for form in maker.forms}
            )
            as_parquet: list[Table] = []
            if rl_problems:
                rl, verl, counts["rl_rows"], counts["rl_dropped"] = rl_data.write_rl_data(
                    work.folder, rl_problems, verdicts, rates, shuffle_seed, track, maker, card.name
                )
                tables.append(rl)
                as_parquet.append(verl)
            dated = maker.columns.dated()
            if parquet or dated:
                as_parquet = [table.as_parquet() for table in tables] + as_parquet
            facts = Facts(parameters, counts, checks, row_format.template, dated)
            cards = [write_card(work.folder, facts, tables, as_parquet, solutions.require())]
            if as_parquet:
                cards.append(write_parquet_card(work.folder, facts, as_parquet))
            shutil.rmtree(work.folder / "partial", ignore_errors=True)
            work.finish(
                outputs=[*(path for table in (*tables, *as_parquet) for path in table.paths), *cards],
                assistant_end=row_format.template.end,
                template_checks=checks,
                **counts,
            )
        return work.manifest


def _origin(solutions: Stage) -> dict[str, Any]:
    """Return what the solutions of a stage have in common: run, model, and the prompt's name and hash."""
    known = solutions.require().get("parameters", {})
    run = run_folder_of(solutions.folder).name
    return {"run": run, **{key: known[key] for key in ("model", "prompt_name", "prompt") if key in known}}


@dataclass
class _Counts:
    """Counts of rows read, dropped and kept.

    A row turns out to be a duplicate only after sorting, so what it adds to the counts travels with it as a 64-bit
    note: `pack` makes the note, `keep` adds it up. problem_key, reference_key: keys of a row that hold its problem's id
    and the reference answer.
    """

    problem_key: str = "id"
    reference_key: str = "expected_answer"
    errors: ExpectedErrors = field(default_factory=lambda: ExpectedErrors({}, None))
    rows_in: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    by_source: Counter[int] = field(default_factory=Counter)
    problems: set[int] = field(default_factory=set)
    _sources: dict[str, int] = field(default_factory=dict)

    def pack(self, solution: Solution, verdict: Verdict) -> int:
        """Return the note of a row: 31 bits of tokens, 15 of source number, 16 of doubt, 1 "answer replaced"."""
        self.problems.add(hash(solution.keys.get(self.problem_key, verdict.id)))
        source = str(solution.keys.get("problem_source") or "unknown")
        if source not in self._sources and len(self._sources) >= (1 << 15) - 1:
            source = "others"
        number = self._sources.setdefault(source, len(self._sources))
        relabeled = str(solution.keys.get(self.reference_key, verdict.expected_answer)) != verdict.expected_answer
        doubt = self.errors.encode(verdict.id, verdict.how)
        return min(solution.tokens, (1 << 31) - 1) << 32 | number << 17 | doubt << 1 | relabeled

    def keep(self, note: int) -> None:
        """Count a row that is kept."""
        self.kept["rows"] += 1
        self.kept["generated_tokens"] += note >> 32
        self.kept["rows_with_repaired_answer"] += note & 1
        self.errors.add(note >> 1 & 0xFFFF)
        self.by_source[note >> 17 & 0x7FFF] += 1

    def for_manifest(self) -> ExportCounts:
        """Return the counts under the manifest's keys."""
        names = list(self._sources)
        return {
            "rows_in": self.rows_in,
            "rows_out": self.kept["rows"],
            "dropped": {reason: self.dropped[reason] for reason in REASONS if self.dropped[reason]},
            "problems": len(self.problems),
            "generated_tokens": self.kept["generated_tokens"],
            "rows_with_repaired_answer": self.kept["rows_with_repaired_answer"],
            "expected_wrong": self.errors.summary(len(self.problems)),
            "rows_by_source": {names[number]: count for number, count in self.by_source.most_common()},
        }


def _write_rows(
    work: Work, maker: RowMaker, seeds: Mapping[int, Path], verdicts: Path, shuffle_seed: int, track: str
) -> tuple[list[Table], ExportCounts]:
    partial = work.folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    size = sum(path.stat().st_size for path in seeds.values())
    problem_key, reference_key = _COUNTED_KEYS.get(track, ("id", "expected_answer"))
    counts = _Counts(problem_key, reference_key, maker.errors)
    with ExitStack() as stack:
        sources = list(seeds.values())
        shuffled = [stack.enter_context(ShuffledRows(partial / form, size, sources=sources)) for form in maker.forms]
        for solution, verdict, source, offset in _kept_solutions(work, maker, seeds, verdicts, counts):
            text, start = maker.text(solution)
            key = shuffle_key(shuffle_seed, verdict.id, *text)
            note = counts.pack(solution, verdict)
            place = (source, offset + solution.text_at + start) if solution.text_at >= 0 else None
            for rows, line in zip(shuffled, maker.rows(solution, text, verdict), strict=True):
                _add(rows, key, note, line, text.thinking, place)
        if not shuffled[0].rows:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in counts.dropped.items()) or "no input rows"
            raise SdgError(
                f"{work.folder}: nothing to export: all {counts.rows_in} solutions were dropped ({reasons}). Look at "
                "the verdicts, or relax the filters."
            )
        tables = _tables(work.folder, maker, track)
        types = maker.columns.converters(maker.extra_keys)
        for rows, table in zip(shuffled, tables, strict=True):
            counted = counts if table is tables[0] else _Counts()
            _write_file(rows, table.paths[0], maker.filters.deduplicate, counted, types)
    shutil.rmtree(partial, ignore_errors=True)
    return tables, counts.for_manifest()


def _add(rows: ShuffledRows, key: bytes, note: int, line: Line, thinking: bytes, place: tuple[int, int] | None) -> None:
    """Add a line. Its thinking is long and stays where it is. place: number of its file, and where it begins there;
    None if the file has it in other bytes."""
    if place is None:
        rows.add(key, line.whole(thinking), note)
    else:
        excerpt = Excerpt.of(thinking[line.start : line.end], place[0], place[1] + line.start)
        rows.add(key, line.before, note, excerpt, line.after)


def _tables(folder: Path, maker: RowMaker, track: str) -> list[Table]:
    types = maker.columns.types(maker.extra_keys)
    return [
        Table(FORMS[form].config, (folder / file_name(track, form),), schema_of(form, types)) for form in maker.forms
    ]


def _kept_solutions(
    work: Work, maker: RowMaker, seeds: Mapping[int, Path], verdicts: Path, counts: _Counts
) -> Iterator[tuple[Solution, Verdict, int, int]]:
    """Yield the solutions that pass the filters, with verdict, number of the file, and offset of the line in it.

    Those that are dropped are counted.
    """
    size, read = sum(path.stat().st_size for path in seeds.values()), 0
    for source, (seed, path) in enumerate(seeds.items()):
        begun = read
        seed_verdicts = SeedVerdicts(verdicts, seed)
        ours = is_recorded(path)
        for number, line in enumerate(read_lines(path), 1):
            solution = parse_solution(line, path, number, ours=ours)
            verdict = seed_verdicts.find(solution.keys["id"])
            reason = maker.reason_to_drop(solution, verdict)
            counts.rows_in += 1
            if reason is None and verdict is not None:
                yield solution, verdict, source, read - begun
            else:
                counts.dropped[reason or "no_verdict"] += 1
            read += len(line)
            if number % 256 == 0:
                work.progress(read >> 20, size >> 20, unit="MiB")


def _write_file(
    rows: ShuffledRows, path: Path, deduplicate: bool, counts: _Counts, types: Mapping[str, pa.DataType]
) -> None:
    """Write rows in their shuffled order, without duplicates if those are to be dropped.

    types: of the keys whose values have to be converted.
    """
    with files.atomic_writer(path, cached=False) as out:
        for line, note, repeated in rows:
            if repeated and deduplicate:
                counts.dropped["duplicate"] += 1
            else:
                out.write(convert(line, types) if types else line)
                counts.keep(note)
