"""Take questions, tests and procedures from rows of the published datasets, each in its own schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sdg_helpers.coding.procedures import INTERACTIVE, UNREADABLE_TESTS, Procedure, is_file_name

Row = Mapping[str, Any]
_MAX_INTEGER_DIGITS = 4300  # longer ones stay text: Python refuses to convert them
_AMOUNT = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([A-Za-z]{0,12})")
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 0.001, "milliseconds": 0.001, "": 1.0}
_MEGABYTES = {"b": 2**-20, "bytes": 2**-20, "kb": 2**-10, "kilobytes": 2**-10, "mb": 1.0, "megabytes": 1.0}
_MEGABYTES |= {"": 1.0, "gb": 2.0**10, "gigabytes": 2.0**10}


# -- APPS and TACO: tests are JSON text; those with fn_name call a function --------------------------------------------


def json_question(row: Row) -> str:
    """Return the question, with the code that the answer has to complete if a function is asked for."""
    text, function = row.get("question") or "", _input_output(row).get("fn_name")
    if not (text.strip() and function):
        return text
    starter = (row.get("starter_code") or "").strip("\n")
    code = f" It completes this code:\n\n```python\n{starter}\n```" if starter.strip() else ""
    asked = f"Write the Python function `{function}`. It is called with its arguments and returns the result."
    return f"{text}\n\n{asked}{code}"


def json_tests(row: Row) -> list[tuple[Any, Any]]:
    """Return the pairs; the arguments and results of a function as JSON."""
    given = _input_output(row)
    pairs = _pairs(given.get("inputs"), given.get("outputs"))
    if given.get("fn_name"):
        return [(json.dumps(inputs), json.dumps(output)) for inputs, output in pairs if isinstance(inputs, list)]
    return pairs


def json_procedure(row: Row) -> Procedure:
    """Return the function to call, if any, and TACO's limits."""
    given = _input_output(row)
    function = given.get("fn_name") or ""
    readable = given or not (row.get("input_output") or "").strip()
    return Procedure(
        function=function if isinstance(function, str) and function.isidentifier() else "",
        seconds=_amount(row.get("time_limit"), _SECONDS),
        memory_mb=_amount(row.get("memory_limit"), _MEGABYTES),
        undecided="" if readable else UNREADABLE_TESTS,
    )


def _input_output(row: Row) -> dict[str, Any]:
    """Parse input_output; {} for anything but an object."""
    try:
        given = parse_json(row.get("input_output") or "{}")
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def parse_json(text: str) -> Any:
    """Parse JSON in which integers may have any length. Raises ValueError and RecursionError."""
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < _MAX_INTEGER_DIGITS else digits


# -- CodeContests ------------------------------------------------------------------------------------------------------


def contest_question(row: Row) -> str:
    """Return the description, which says everything."""
    return row.get("description") or ""


def contest_tests(row: Row) -> list[tuple[Any, Any]]:
    """Return the public tests."""
    given = row.get("public_tests") or {}
    return _pairs(given.get("input"), given.get("output"))


def contest_procedure(row: Row) -> Procedure:
    """Return the files to read and write, and the limits."""
    limit = row.get("time_limit") or {}
    seconds = (limit.get("seconds") or 0) + (limit.get("nanos") or 0) / 1e9
    return _with_files(
        row.get("input_file") or "", row.get("output_file") or "", seconds, (row.get("memory_limit_bytes") or 0) / 2**20
    )


# -- Codeforces --------------------------------------------------------------------------------------------------------


def codeforces_question(row: Row) -> str:
    """Join the statement, input, output, protocol, examples and note, which have separate columns."""
    parts = [row.get("description") or ""]
    if not parts[0].strip():
        return ""
    columns = {"Input": "input_format", "Output": "output_format", "Interaction": "interaction_format"}
    parts += [f"{title}\n\n{row[key]}" for title, key in columns.items() if row.get(key)]
    if row.get("input_mode") == "file":
        parts.append("Read the input from the file input.txt and write the output to the file output.txt.")
    for example in row.get("examples") or ():
        parts.append(f"Example\n\nInput\n\n{example.get('input', '')}\n\nOutput\n\n{example.get('output', '')}")
    return "\n\n".join([*parts, *([f"Note\n\n{row['note']}"] if row.get("note") else [])])


def codeforces_tests(row: Row) -> list[tuple[Any, Any]]:
    """Return the examples, then the official tests; none for an interactive question, whose examples are dialogues."""
    if row.get("interaction_format"):
        return []
    tests = [*(row.get("examples") or ()), *(row.get("official_tests") or ())]
    return [(test.get("input"), test.get("output")) for test in tests]


def codeforces_procedure(row: Row) -> Procedure:
    """Return the checker, files and limits, or that the question is interactive."""
    if row.get("interaction_format"):
        return Procedure(undecided=INTERACTIVE)
    names = ("input.txt", "output.txt") if row.get("input_mode") == "file" else ("", "")
    return _with_files(
        *names,
        seconds=float(row.get("time_limit") or 0),
        memory_mb=float(row.get("memory_limit") or 0),
        checker=row.get("generated_checker") or "",
    )


# -- all ---------------------------------------------------------------------------------------------------------------


def _with_files(input_file: str, output_file: str, seconds: float, memory_mb: float, checker: str = "") -> Procedure:
    """Return a procedure; undecided where the dataset names a file outside the working folder."""
    standard = {"stdin": "", "standard input": "", "stdout": "", "standard output": ""}
    names = [standard.get(name, name) for name in (input_file, output_file)]
    safe = all(not name or is_file_name(name) for name in names)
    return Procedure(
        checker=checker,
        input_file=names[0] if safe else "",
        output_file=names[1] if safe else "",
        seconds=seconds,
        memory_mb=memory_mb,
        undecided="" if safe else UNREADABLE_TESTS,
    )


def _pairs(inputs: Any, outputs: Any) -> list[tuple[Any, Any]]:
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        return []
    return list(zip(inputs, outputs, strict=True))


def _amount(value: Any, units: Mapping[str, float]) -> float:
    """Read a limit such as "2.0 seconds"; 0 without one."""
    if isinstance(value, (int, float)):
        return float(value)
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) * units.get(match[2].lower(), 0.0) if match else 0.0
