"""The dataset card: a README.md with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from sdg_helpers.sft.chat_templates import ChatTemplate
from sdg_helpers.sft.front_matter import front_matter
from sdg_helpers.sft.markdown import escape, table, write_markdown
from sdg_helpers.sft.tables import PARQUET, Table
from sdg_helpers.sft.template_checks import SAMPLE, TemplateCheck
from sdg_helpers.sft.trainers import training_notes

_FIELDS = {
    "input": "the question, rendered with the tokenizer's chat template up to where the model's reply begins",
    "output": "the solution with its thinking, followed by the template's end-of-turn token",
    "messages": "the same conversation as a list of messages with `role` and `content`",
    "conversations": "the same conversation as a list of turns with `from` and `value`",
    "data_source": "the name of the data, by which verl chooses a reward function",
    "prompt": "the question as a list of messages",
    "ability": "the track",
    "reward_model": "`style` (rule) and `ground_truth` (the expected answer)",
    "extra_info": "`split`, `index`, `id` of the problem, `pass_rate` and `pass_rate_samples`",
    "problem": "the problem statement",
    "expected_answer": "the answer that the solution was judged against",
    "pass_rate": "fraction of the problem's judged solutions that are correct; after adaptive sampling, an unbiased "
    "estimate of it",
    "provenance": "JSON: run, model, prompt, id of the problem, seed, and what decided the verdict",
    "pass_rate_samples": "number of solutions that `pass_rate` rests on",
}
_TRACK_FIELDS = {
    "code": {
        "expected_answer": "empty: a programming problem has no single correct program",
        "pass_rate": "fraction of all the problem's solutions that are correct",
    },
    "science": {"expected_answer": "the answer that most of the problem's solutions agree on"},
    "genselect": {
        "input": "a problem and its candidate solutions, rendered with the tokenizer's chat template up to where the "
        "model's reply begins",
        "output": "the reasoning that picks a candidate, followed by the template's end-of-turn token",
        "expected_answer": "the answer of the problem, which the picked candidate gives",
    },
}
_REASONS = {
    "later_seed": "only the first seeds are used",
    "unfinished": "the model did not finish by itself",
    "no_think_tags": "no closed thinking part",
    "no_verdict": "not judged",
    "incorrect": "judged incorrect",
    "no_answer": "no expected answer",
    "undecided": "neither correct nor incorrect: an unreadable judgement or pick, no majority, or a missing library",
    "end_token_inside": "question or text contain the template's end-of-turn token",
    "special_token_inside": "question or text contain another special token of the tokenizer",
    "thinking_parts": "not exactly one thinking part, at the start of the text",
    "multi_boxed": "more than one boxed answer",
    "contaminated": "the problem appears in a benchmark",
    "problem_length": "the problem is too short or too long",
    "solution_length": "the solution is too short or too long",
    "pass_rate": "the problem is solved too rarely or too often",
    "unsure_label": "the label is too likely to be wrong",
    "duplicate": "identical to another solution of the problem",
}


@dataclass(frozen=True)
class DatasetCard:
    """What the card states besides the data. provenance: further lines about how the data was made, name -> text."""

    name: str
    licence: str
    provenance: Mapping[str, str] = field(default_factory=dict)


class ExportParameters(TypedDict):
    """The `parameters` of an export's manifest."""

    tokenizer: str
    chat_template: str
    prompt: str
    prompt_name: str
    filters: dict[str, Any]
    forms: list[str]
    extra_keys: list[str]
    shuffle_seed: int
    rl_form: bool
    track: str
    licence: str
    dataset_name: str
    provenance: dict[str, str]
    text_part: str
    parquet: bool


class SftCounts(TypedDict):
    """The counts of the SFT rows."""

    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    problems: int
    generated_tokens: int
    rows_with_repaired_answer: int
    expected_wrong: dict[str, Any] | None
    rows_by_source: dict[str, int]


class ExportCounts(SftCounts, total=False):
    """The counts of an export, with those of the RL form if there is one."""

    rl_rows: int
    rl_dropped: dict[str, int]


class Facts(NamedTuple):
    """What the card says about an export: parameters and counts of its manifest, and what a trainer sees.

    dated: keys whose dates a loader would misread from JSONL.
    """

    parameters: ExportParameters
    counts: ExportCounts
    checks: Sequence[TemplateCheck]
    template: ChatTemplate
    dated: Sequence[str] = ()


def write_card(
    folder: Path, facts: Facts, tables: Sequence[Table], as_parquet: Sequence[Table], solutions: Mapping[str, Any]
) -> Path:
    """Write the card of an exported folder and return its path.

    The card declares the files and their types, and says what a trainer sees, how to train, what was filtered out,
    where the problems come from, how the solutions were generated, and the license. tables, as_parquet: the data as
    JSONL and as Parquet; solutions: the manifest that says how they were generated.
    """
    parameters, counts = facts.parameters, facts.counts
    parts = [
        _front_matter(facts, folder, [one for one in as_parquet if one.config != "verl"] if facts.dated else tables),
        f"# {escape(parameters['dataset_name'])}",
        _summary(counts, parameters["track"]),
        *_expected_errors(counts),
        "## Files",
        *(_file(one, folder, parameters, counts) for one in tables),
        *_parquet_files(folder, as_parquet, facts.dated),
        "## What a trainer sees",
        _checks(facts),
        "## Training",
        *training_notes(folder, tables, as_parquet, facts.checks, facts.template),
        "## Filtering",
        _filtering(counts, _row_source(parameters)),
        "## Problem sources",
        table(("Source", "Rows"), counts["rows_by_source"].items()),
        "## Generation",
        table(("Setting", "Value"), _settings(parameters, solutions.get("parameters", {}))),
        "## License",
        f"`{escape(parameters['licence'])}`",
    ]
    return write_markdown(folder / "README.md", parts)


def write_parquet_card(folder: Path, facts: Facts, as_parquet: Sequence[Table]) -> Path:
    """Write the card of the folder of Parquet files, which a loader needs to tell the tables apart."""
    target = folder / PARQUET
    parts = [
        _front_matter(facts, target, as_parquet),
        f"# {escape(facts.parameters['dataset_name'])} as Parquet",
        "The rows of the folder above. Its card says how they were made and how to train on them.",
        *(_file(one, target, facts.parameters, facts.counts) for one in as_parquet),
    ]
    return write_markdown(target / "README.md", parts)


def _front_matter(facts: Facts, folder: Path, tables: Sequence[Table]) -> str:
    parameters = facts.parameters
    name, licence, track = (parameters[key] for key in ("dataset_name", "licence", "track"))
    return front_matter(name, licence, track, facts.counts["rows_out"], folder, tables)


def _parquet_files(folder: Path, as_parquet: Sequence[Table], dated: Sequence[str]) -> list[str]:
    if not as_parquet:
        return []
    names = ", ".join(f"`{one.config}` ({_some_names(one, folder)})" for one in as_parquet)
    warning = (
        f" `load_dataset` on this folder reads these, because {', '.join(map(escape, dated))} may hold nothing but "
        "dates for a while: the JSON loader turns 2024-01-02 into 2024-01-02 00:00:00, whatever the declared type."
    )
    return [f"The folder `{PARQUET}` has the same rows as Parquet, with its own card: {names}." + warning * bool(dated)]


def _some_names(one: Table, folder: Path) -> str:
    return ", ".join(one.names(folder)[:3]) + (" …" if len(one.paths) > 3 else "")


def _checks(facts: Facts) -> str:
    if not facts.checks:
        return "Nothing was checked."
    rows = (
        (one["form"], one["check"], ("" if one["ok"] else "**no:** ") + escape(one["found"]), escape(one["remedy"]))
        for one in facts.checks
    )
    return (
        f"The first rows of each form, at most {SAMPLE}, were rendered and tokenized with the tokenizer "
        f"`{escape(facts.parameters['tokenizer'])}`, as trainers do it.\n\n"
        + table(("Form", "Check", "Found", "What to do"), rows, raw=True)
    )


def _summary(counts: ExportCounts, track: str) -> str:
    problems, rows = _number(counts["problems"], "problem"), counts["rows_out"]
    tokens = _number(counts["generated_tokens"], "generated token")
    repaired = _number(counts["rows_with_repaired_answer"], "row")
    if track == "genselect":
        return (
            f"{_number(rows, 'solution pick')} for {problems} ({tokens}). In each row, a model compares candidate "
            "solutions of a problem and picks one; only picks of a solution that was judged correct are included. "
            f"In {repaired}, the problem's original reference answer was replaced by the majority answer."
        )
    text = f"{_number(rows, 'worked solution')} to {problems} ({tokens}). "
    if track == "code":
        return text + (
            "Every solution ends with a complete program that parses, reads its input and prints its output. How the "
            "programs were tested is stated under Generation."
        )
    if track == "science":
        return text + (
            "The problems have no reference answer: the expected answer is the one that most solutions of a problem "
            "agree on, and only solutions with that answer are included."
        )
    return text + (
        "Every solution was compared with the expected answer of its problem. "
        f"In {repaired}, the original reference answer was replaced by the majority answer of the solutions, because "
        "no solution agreed with it."
    )


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _row_source(parameters: ExportParameters) -> str:
    """Return what the rows are made from, in the track's own word."""
    return "replies" if parameters["track"] == "genselect" else "solutions"


def _file(one: Table, folder: Path, parameters: ExportParameters, counts: ExportCounts) -> str:
    title = f"**{_some_names(one, folder)}** (`{one.config}`)"
    contents = {**_FIELDS, **_TRACK_FIELDS.get(parameters["track"], {})}
    if parameters["text_part"] == "answer":
        contents["output"] = "the answer without the thinking, followed by the template's end-of-turn token"
    if one.config == "reasoning":
        contents["messages"] = "the same conversation, with the thinking apart from `content` in `reasoning_content`"
    rows = _number(counts["rows_out"], "row")
    if one.config in ("rl", "verl"):
        dropped = [f"{count:,} {reason} ({_REASONS[reason]})" for reason, count in counts["rl_dropped"].items()]
        rows = f"{_number(counts['rl_rows'], 'row')}, one per problem" + "; dropped: " * bool(dropped)
        rows += ", ".join(dropped)
    keys = [(key, contents.get(key, "as in the solutions")) for key in one.schema.names]
    return f"{title}, {rows}\n\n{table(('Field', 'Content'), keys)}"


def _expected_errors(counts: ExportCounts) -> list[str]:
    if not (wrong := counts.get("expected_wrong")):
        return []
    return [
        f"Expected errors: about {wrong['rows']:,} of {_number(counts['rows_out'], 'row')} are probably wrong (90 % "
        f"interval: {wrong['low']:,} to {wrong['high']:,}). This adds up, over all rows, how likely each label is to "
        "be wrong, given the votes of the solutions, and how often a verdict on an answer is wrong."
    ]


def _filtering(counts: ExportCounts, source: str) -> str:
    steps = [
        (source, counts["rows_in"]),
        *((f"dropped: {reason} ({_REASONS[reason]})", -count) for reason, count in counts["dropped"].items()),
        ("**rows**", counts["rows_out"]),
    ]
    return table(("Step", "Count"), steps)


def _settings(parameters: ExportParameters, generation: Mapping[str, Any]) -> list[tuple[str, Any]]:
    source, unit = _row_source(parameters), "comparison" if parameters["track"] == "genselect" else "problem"
    known = [
        (f"{source} written by", generation.get("model")),
        (f"{source} per {unit}", generation.get("num_seeds")),
        *((name.replace("_", " "), generation.get(name)) for name in ("temperature", "top_p", "max_tokens")),
        *parameters["provenance"].items(),
        ("prompt", parameters["prompt_name"]),
        ("chat template of", parameters["tokenizer"]),
        (
            "filters",
            ", ".join(f"{name}={value}" for name, value in parameters["filters"].items() if value not in (None, False)),
        ),
        ("shuffle seed", parameters["shuffle_seed"]),
    ]
    return [(name, value) for name, value in known if value is not None]
