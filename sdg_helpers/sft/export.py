"""Stage 07: join solutions and verdicts, filter, render, shuffle: data ready for fine-tuning, with its card."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdg_helpers import files, paths
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.judging.pass_rates import count as count_pass_rates
from sdg_helpers.judging.pass_rates import read as read_pass_rates
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict
from sdg_helpers.prompts import Prompt
from sdg_helpers.sft import rl_data
from sdg_helpers.sft.chat_templates import ChatTemplate
from sdg_helpers.sft.dataset_cards import write_card
from sdg_helpers.sft.filters import REASONS, Filters
from sdg_helpers.sft.rows import FORMS, RowMaker, shuffle_key
from sdg_helpers.sft.shuffling import ShuffledRows
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.rows import Solution, parse_solution
from sdg_helpers.stages import Stage, Work

STAGE = ("export SFT data", "math/07_export_sft")
_TALLIED_BY = {"genselect": ("problem_id", "original_expected_answer")}  # rows of comparisons: see genselect


def export_sft(
    solutions: Path,
    verdicts: Path,
    folder: Path,
    *,
    prompt: Prompt,
    licence: str,
    tokenizer: str = "chatml",
    template_options: Mapping[str, Any] | None = None,
    filters: Filters | Mapping[str, Any] | None = None,
    forms: Sequence[str] = ("input_output",),
    extra_keys: Sequence[str] = (),
    shuffle_seed: int = 42,
    problems: Path | None = None,
    rl_form: bool = False,
    track: str = "math",
    dataset_name: str = "open-reasoning-math",
    provenance: Mapping[str, str] | None = None,
    text_part: str = "whole",
    stage: tuple[str, str] = STAGE,
    pass_rates: Path | None = None,
) -> dict[str, Any]:
    """Write sft-data-{track}.jsonl (input, output, expected_answer), README.md and what else is asked for.

    solutions: folder of output-rs{seed}.jsonl; verdicts: the verdicts.parquet that says which are right.
    prompt: renders the question; its worked examples are left out. tokenizer: hub name, folder or "chatml".
    forms: "input_output" and / or "messages" (sft-data-{track}-messages.jsonl, the same rows in the same order).
    extra_keys: keys of the solutions to add to every row, e.g. ("id", "seed", "problem_source").
    rl_form: write rl-data-{track}.jsonl too (problem, expected_answer, pass_rate); needs `problems`.
    provenance: lines for the dataset card, name -> text. text_part: "whole", or "answer" for what follows the thinking.
    stage: name and notebook, for messages. pass_rates: a table by id (pass_rates.parquet) for the filters of that name
    and the extra key "pass_rate"; without one they are counted from the verdicts. Order and content depend on data and
    shuffle_seed alone.
    Returns the manifest. Raises SdgError, e.g. when no solution is kept.
    """
    filters = Filters.parse(filters or {})
    _check(forms, rl_form, problems)
    seeds = seed_files.seed_files(solutions)
    template = ChatTemplate(tokenizer, dict(template_options or {}))
    maker = RowMaker(template, prompt, filters, forms, extra_keys, text_part)
    parameters = {
        "tokenizer": tokenizer,
        "chat_template": template.id,
        "prompt": maker.prompt.id,
        "prompt_name": prompt.name,
        "filters": filters.as_parameters(),
        "forms": list(forms),
        "extra_keys": list(extra_keys),
        "shuffle_seed": shuffle_seed,
        "rl_form": rl_form,
        "track": track,
        "licence": licence,
        "dataset_name": dataset_name,
        "provenance": dict(provenance or {}),
        "text_part": text_part,
    }
    inputs = {
        **{path.name: path for path in seeds.values()},
        "verdicts": verdicts,
        **({"pass_rates": pass_rates} if pass_rates else {}),
        **({"problems": problems} if rl_form else {}),
        **(
            {"contamination_file": paths.resolve_path(filters.contamination_file)}
            if filters.remove_contaminated
            else {}
        ),
    }
    Stage(solutions, "solutions", "math/03_generate_solutions").require()
    with Stage(folder, *stage).work(parameters, inputs) as work:
        if not work.done:
            if filters.rate_bounds != (None, None) or "pass_rate" in extra_keys:
                maker.pass_rates = read_pass_rates(pass_rates) if pass_rates else count_pass_rates(verdicts)
            outputs, counts = _write_rows(work, maker, seeds, verdicts, shuffle_seed, track)
            if rl_form:
                path, left_out, rl_rows = rl_data.write_rl_data(
                    work.folder, problems, verdicts, shuffle_seed, track, maker.reason_to_drop_problem
                )
                outputs, counts = [*outputs, path], {**counts, "rl_rows": rl_rows, "rl_dropped": left_out}
            outputs.append(write_card(work.folder / "README.md", parameters, counts, outputs, solutions))
            work.finish(outputs=outputs, assistant_end=template.end, **counts)
        return work.manifest


def _check(forms: Sequence[str], rl_form: bool, problems: Path | None) -> None:
    for form in forms:
        if form not in FORMS:
            raise SdgError(f"form {form!r}: expected one of {', '.join(FORMS)}.{did_you_mean(form, FORMS)}")
    if not forms:
        raise SdgError(f"forms: expected at least one of {', '.join(FORMS)}, found none.")
    if rl_form and problems is None:
        raise SdgError("rl_form: expected the path of problems.jsonl with it (problems=…), found none.")


@dataclass
class _Tally:
    """Counts of what was read, dropped and kept. A kept row's numbers travel with it as one note of 64 bits, because
    whether it is a duplicate is known only when the rows have been sorted.

    problem_key, reference_key: keys of a row that hold its problem's id and the answer of the reference.
    """

    problem_key: str = "id"
    reference_key: str = "expected_answer"
    rows_in: int = 0
    dropped: Counter = field(default_factory=Counter)
    kept: Counter = field(default_factory=Counter)
    by_source: Counter = field(default_factory=Counter)
    problems: set[int] = field(default_factory=set)
    _sources: dict[str, int] = field(default_factory=dict)

    def note(self, solution: Solution, verdict: Verdict) -> int:
        self.problems.add(hash(solution.keys.get(self.problem_key, verdict.id)))
        source = str(solution.keys.get("problem_source") or "unknown")
        if source not in self._sources and len(self._sources) >= 1 << 15:
            source = "others"
        number = self._sources.setdefault(source, len(self._sources))
        relabeled = str(solution.keys.get(self.reference_key, verdict.expected_answer)) != verdict.expected_answer
        return min(solution.tokens, (1 << 32) - 1) << 32 | number << 1 | relabeled

    def keep(self, note: int) -> None:
        self.kept["rows"] += 1
        self.kept["generated_tokens"] += note >> 32
        self.kept["rows_with_repaired_answer"] += note & 1
        self.by_source[note >> 1 & 0x7FFFFFFF] += 1

    def counts(self) -> dict[str, Any]:
        names = list(self._sources)
        return {
            "rows_in": self.rows_in,
            "rows_out": self.kept["rows"],
            "dropped": {reason: self.dropped[reason] for reason in REASONS if self.dropped[reason]},
            "problems": len(self.problems),
            "generated_tokens": self.kept["generated_tokens"],
            "rows_with_repaired_answer": self.kept["rows_with_repaired_answer"],
            "rows_by_source": {names[number]: count for number, count in self.by_source.most_common()},
        }


def _write_rows(
    work: Work, maker: RowMaker, seeds: Mapping[int, Path], verdicts: Path, shuffle_seed: int, track: str
) -> tuple[list[Path], dict[str, Any]]:
    partial = work.folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    size, tally = sum(path.stat().st_size for path in seeds.values()), _Tally(*_TALLIED_BY.get(track, ()))
    with ExitStack() as stack:
        shuffled = [stack.enter_context(ShuffledRows(partial / form, size)) for form in maker.forms]
        for solution, verdict in _kept(work, maker, seeds, verdicts, tally):
            text = maker.text(solution)
            key = shuffle_key(shuffle_seed, verdict.id, text)
            note = tally.note(solution, verdict)
            for rows, line in zip(shuffled, maker.rows(solution, text, verdict), strict=True):
                rows.add(key, line, note)
        if not shuffled[0].rows:
            told = ", ".join(f"{count} × {reason}" for reason, count in tally.dropped.items()) or "there are none"
            raise SdgError(
                f"{work.folder}: expected at least one solution to export, found none of {tally.rows_in} "
                f"({told}). Look at the verdicts, or relax the filters."
            )
        paths = [work.folder / name for name in _names(maker.forms, track)]
        for rows, path in zip(shuffled, paths, strict=True):
            _write(rows, path, maker.filters.deduplicate, tally if path == paths[0] else _Tally())
    shutil.rmtree(partial, ignore_errors=True)
    return paths, tally.counts()


def _names(forms: Sequence[str], track: str) -> list[str]:
    suffix = {"input_output": "", "messages": "-messages"}
    return [f"sft-data-{track}{suffix[form]}.jsonl" for form in forms]


def _kept(
    work: Work, maker: RowMaker, seeds: Mapping[int, Path], verdicts: Path, tally: _Tally
) -> Iterator[tuple[Solution, Verdict]]:
    size, read = sum(path.stat().st_size for path in seeds.values()), 0
    for seed, path in seeds.items():
        of_seed = SeedVerdicts(verdicts, seed)
        with open(path, "rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, 1):
                solution = parse_solution(line, path, number)
                verdict = of_seed.find(solution.keys["id"])
                reason = maker.reason_to_drop(solution, verdict)
                tally.rows_in += 1
                if reason is None:
                    yield solution, verdict
                else:
                    tally.dropped[reason] += 1
                read += len(line)
                if number % 256 == 0:
                    work.progress(read >> 20, size >> 20, unit="MiB")


def _write(rows: ShuffledRows, path: Path, deduplicate: bool, tally: _Tally) -> None:
    with files.atomic_writer(path) as out:
        for line, note, repeated in rows:
            if repeated and deduplicate:
                tally.dropped["duplicate"] += 1
            else:
                out.write(line)
                tally.keep(note)
