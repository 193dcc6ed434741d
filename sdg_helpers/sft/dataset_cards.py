"""A dataset's card: README.md with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
_HOLDS = {
    "input": "the question in the tokenizer's chat template, up to where the answer begins",
    "output": "the solution with its thinking, and the template's end of an answer",
    "messages": "the same conversation as a list of `role` and `content`",
    "problem": "the problem's text",
    "expected_answer": "the answer that the solution was judged against",
    "pass_rate": "right solutions / judged solutions of the problem",
}
_HOLDS_IN = {
    "code": {
        "expected_answer": "empty: there is no single right program",
        "pass_rate": "right solutions / all solutions of the problem",
    },
    "science": {"expected_answer": "the answer that most of the problem's solutions agree on"},
    "genselect": {
        "input": "a problem and its candidates in the tokenizer's chat template, up to where the answer begins",
        "output": "the reasoning that picks a candidate, and the template's end of an answer",
        "expected_answer": "the answer of the problem, which the picked candidate has",
    },
}
_WHY = {
    "unfinished": "the model did not come to an end by itself",
    "no_think_tags": "no closed thinking part",
    "no_verdict": "not judged",
    "incorrect": "judged wrong",
    "no_answer": "no expected answer",
    "undecided": "neither right nor wrong: an unreadable judgement or pick, no majority, or a missing library",
    "end_token_inside": "the text holds the template's end token",
    "multi_boxed": "more than one boxed answer",
    "contaminated": "the problem is in a benchmark",
    "problem_length": "the problem's length",
    "solution_length": "the solution's length",
    "pass_rate": "how often its problem is solved",
    "duplicate": "an equal solution of the problem is kept",
}


def write_card(
    path: Path, parameters: Mapping[str, Any], counts: Mapping[str, Any], outputs: Sequence[Path], solutions: Path
) -> Path:
    """Write the card of an exported folder: what is in it, how it was made, under which licence; returns the path."""
    generated = (files.read_json(solutions / "manifest.json") or {}).get("parameters", {})
    head = {
        "license": parameters["licence"],
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "reasoning", parameters["track"]],
        "size_categories": [next((name for limit, name in _SIZES if counts["rows_out"] < limit), "n>100M")],
        "pretty_name": parameters["dataset_name"],
        "configs": [{"config_name": _kind(file), "data_files": file.name} for file in outputs],
    }
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {_line(parameters['dataset_name'])}",
        _summary(counts, parameters["track"]),
        "## Files",
        *(_file(file, parameters, counts) for file in outputs),
        f"## From {_read(parameters)} to rows",
        _funnel(counts, _read(parameters)),
        "## Where the problems come from",
        _table(("source", "rows"), counts["rows_by_source"].items()),
        "## How it was made",
        _table(("", ""), _making(parameters, generated)),
        "## Licence",
        f"`{_line(parameters['licence'])}`",
    ]
    with files.atomic_writer(path) as out:
        out.write(("\n\n".join(parts) + "\n").encode("utf-8", "replace"))
    return path


def _summary(counts: Mapping[str, Any], track: str) -> str:
    problems, tokens = f"{counts['problems']:,} problems", f"{counts['generated_tokens']:,} generated tokens"
    repaired = f"{counts['rows_with_repaired_answer']:,} rows"
    if track == "genselect":
        return (
            f"{counts['rows_out']:,} picks in comparisons of {problems}, {tokens}. Each row is the reasoning of a "
            f"pick that names a solution judged right. {repaired} compare solutions of problems whose reference "
            "answer was replaced."
        )
    said = f"{counts['rows_out']:,} worked solutions of {problems}, {tokens}. "
    if track == "code":
        return said + (
            "Every solution ends in a whole program that parses, reads its input and prints; how programs "
            "were tried out is said below."
        )
    if track == "science":
        return said + (
            "There is no reference: the expected answer is what most of a problem's solutions agree on, and "
            "the solutions with that answer are here."
        )
    return said + (
        "Every solution was compared with the expected answer. "
        f"{repaired} belong to problems whose reference answer was replaced by the majority of the "
        "solutions, because no solution agreed with it."
    )


def _read(parameters: Mapping[str, Any]) -> str:
    """What rows are made from, in the track's own word."""
    return "replies" if parameters["track"] == "genselect" else "solutions"


def _kind(path: Path) -> str:
    return "rl" if path.name.startswith("rl-") else "messages" if path.stem.endswith("-messages") else "sft"


def _file(path: Path, parameters: Mapping[str, Any], counts: Mapping[str, Any]) -> str:
    kind = _kind(path)
    holds = {**_HOLDS, **_HOLDS_IN.get(parameters["track"], {})}
    if parameters["text_part"] == "answer":
        holds["output"] = "what follows the thinking, and the template's end of an answer"
    keys = [*_KEYS[kind], *(() if kind == "rl" else parameters["extra_keys"])]
    told = [(key, holds.get(key, "as in the solutions")) for key in keys]
    rows = f"{counts['rows_out']:,} rows"
    if kind == "rl":
        left_out = [f"{count:,} {reason} ({_WHY[reason]})" for reason, count in counts["rl_dropped"].items()]
        rows = f"{counts['rl_rows']:,} rows, a problem each" + "; left out: " * bool(left_out) + ", ".join(left_out)
    return f"**{path.name}**, {rows}\n\n{_table(('key', 'what it holds'), told)}"


def _funnel(counts: Mapping[str, Any], read: str) -> str:
    steps = [
        (read, counts["rows_in"]),
        *((f"left out: {reason} ({_WHY[reason]})", -count) for reason, count in counts["dropped"].items()),
        ("**rows**", counts["rows_out"]),
    ]
    return _table(("", "count"), steps)


def _making(parameters: Mapping[str, Any], generated: Mapping[str, Any]) -> list[tuple[str, Any]]:
    read, asked = _read(parameters), "comparison" if parameters["track"] == "genselect" else "problem"
    known = [
        (f"{read} written by", generated.get("model")),
        (f"{read} per {asked}", generated.get("num_seeds")),
        *((name.replace("_", " "), generated.get(name)) for name in ("temperature", "top_p", "max_tokens")),
        *parameters["provenance"].items(),
        ("prompt", parameters["prompt_name"]),
        ("tokenizer of the chat template", parameters["tokenizer"]),
        (
            "filters",
            ", ".join(f"{name}={value}" for name, value in parameters["filters"].items() if value not in (None, False)),
        ),
        ("shuffle seed", parameters["shuffle_seed"]),
    ]
    return [(name, value) for name, value in known if value is not None]


def _table(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---" if isinstance(cell, str) else cell for cell in head], *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _line(str(value))


def _line(text: str) -> str:
    """A text from outside as one line of a table: no markup, no line breaks, no cell borders."""
    text = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("|", "\\|")[:500]
