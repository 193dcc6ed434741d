"""The dataset card: a README.md with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import yaml

from sdg_helpers import files

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
_KEYS = {
    "sft": ("input", "output", "expected_answer"),
    "messages": ("messages", "expected_answer"),
    "rl": ("problem", "expected_answer", "pass_rate"),
}
_FIELDS = {
    "input": "the question, rendered with the tokenizer's chat template up to where the model's reply begins",
    "output": "the solution with its thinking, followed by the template's end-of-turn token",
    "messages": "the same conversation as a list of messages with `role` and `content`",
    "problem": "the problem statement",
    "expected_answer": "the answer that the solution was judged against",
    "pass_rate": "fraction of the problem's judged solutions that are correct",
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
    "unfinished": "the model did not finish by itself",
    "no_think_tags": "no closed thinking part",
    "no_verdict": "not judged",
    "incorrect": "judged incorrect",
    "no_answer": "no expected answer",
    "undecided": "neither correct nor incorrect: an unreadable judgement or pick, no majority, or a missing library",
    "end_token_inside": "the text contains the template's end-of-turn token",
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


def write_card(
    path: Path,
    parameters: ExportParameters,
    counts: ExportCounts,
    outputs: Sequence[Path],
    solutions: Mapping[str, Any],
) -> Path:
    """Write the card of an exported folder and return its path.

    The card lists the files and their fields, what was filtered out, where the problems come from, how the solutions
    were generated, and the license. parameters, counts: of the export's manifest; outputs: the data files; solutions:
    the manifest that says how they were generated.
    """
    generation = solutions.get("parameters", {})
    head = {
        "license": parameters["licence"],
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "reasoning", parameters["track"]],
        "size_categories": [next((name for limit, name in _SIZES if counts["rows_out"] < limit), "n>100M")],
        "pretty_name": parameters["dataset_name"],
        "configs": [{"config_name": _config_name(file), "data_files": file.name} for file in outputs],
    }
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {_escape(parameters['dataset_name'])}",
        _summary(counts, parameters["track"]),
        *_expected_errors(counts),
        "## Files",
        *(_file(file, parameters, counts) for file in outputs),
        "## Filtering",
        _filtering(counts, _row_source(parameters)),
        "## Problem sources",
        _table(("Source", "Rows"), counts["rows_by_source"].items()),
        "## Generation",
        _table(("Setting", "Value"), _settings(parameters, generation)),
        "## License",
        f"`{_escape(parameters['licence'])}`",
    ]
    with files.atomic_writer(path) as out:
        out.write(("\n\n".join(parts) + "\n").encode("utf-8", "replace"))
    return path


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


def _config_name(path: Path) -> str:
    return "rl" if path.name.startswith("rl-") else "messages" if path.stem.endswith("-messages") else "sft"


def _file(path: Path, parameters: ExportParameters, counts: ExportCounts) -> str:
    config = _config_name(path)
    contents = {**_FIELDS, **_TRACK_FIELDS.get(parameters["track"], {})}
    if parameters["text_part"] == "answer":
        contents["output"] = "the answer without the thinking, followed by the template's end-of-turn token"
    keys = [*_KEYS[config], *(() if config == "rl" else parameters["extra_keys"])]
    rows = _number(counts["rows_out"], "row")
    if config == "rl":
        dropped = [f"{count:,} {reason} ({_REASONS[reason]})" for reason, count in counts["rl_dropped"].items()]
        rows = f"{_number(counts['rl_rows'], 'row')}, one per problem" + "; dropped: " * bool(dropped)
        rows += ", ".join(dropped)
    table = _table(("Field", "Content"), [(key, contents.get(key, "as in the solutions")) for key in keys])
    return f"**{path.name}**, {rows}\n\n{table}"


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
    return _table(("Step", "Count"), steps)


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


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _escape(str(value))


def _escape(text: str) -> str:
    """Return untrusted text as one line that is safe in a table: no markup, no line breaks, no cell borders."""
    text = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("|", "\\|")[:500]
