"""How a question's tests are run and judged: by comparison, by a checker, through files, or by calling a function."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from sdg_helpers.coding.sandboxed_process import RunLimits

# Why a question's programs stay undecided although it has, or had, tests.
INTERACTIVE, UNREADABLE_TESTS, NO_USABLE_TESTS = "interactive", "unreadable_tests", "no_usable_tests"
# Contest machines are faster than ours, and their limits are meant for compiled programs.
_TIME_FACTOR = {"python": 5.0, "cpp": 2.0}
_MAX_SECONDS, _MAX_MEMORY_MB = 60.0, 4096
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Procedure:
    """How a question's tests are run. The default: the input is stdin, and the printed words are compared.

    checker: Python source of a program that judges outputs, see checkers.py. function: the method of `Solution`, or the
    function, to call; a test's input is the list of its arguments and its output the result, both as JSON. input_file,
    output_file: names of files in the working folder that replace stdin and stdout. seconds, memory_mb: the question's
    own limits, 0 if unknown. undecided: why no program for this question can be judged, "" if it can.
    """

    checker: str = ""
    function: str = ""
    input_file: str = ""
    output_file: str = ""
    seconds: float = 0.0
    memory_mb: float = 0.0
    undecided: str = ""

    @property
    def kind(self) -> str:
        """Return what a count of questions calls this: "interactive" and the like, or how its tests are judged."""
        if self.undecided:
            return self.undecided
        kinds = {"checker": self.checker, "function": self.function, "files": self.input_file or self.output_file}
        return next((name for name, value in kinds.items() if value), "compared")

    def limits(self, default: RunLimits, language: str) -> RunLimits:
        """Return the limits of one run: the question's own where it has them, with reserve, else the default ones."""
        seconds = min(self.seconds * _TIME_FACTOR[language], _MAX_SECONDS) if self.seconds > 0 else default.seconds
        memory_mb = max(default.memory_mb, min(int(self.memory_mb), _MAX_MEMORY_MB))
        return replace(default, seconds=seconds, memory_mb=memory_mb)

    def as_row(self) -> dict[str, Any]:
        """Return the fields that differ from the default, for tests.jsonl."""
        return {name: value for name, value in asdict(self).items() if value}


COMPARED = Procedure()


def read_procedure(row: dict[str, Any]) -> Procedure:
    """Return the procedure in a row of tests.jsonl."""
    return Procedure(**{name: row[name] for name in Procedure.__dataclass_fields__ if name in row})


def own_procedure(row: dict[str, Any]) -> Procedure:
    """Return the procedure in a row of a user's file. Raises ValueError for a value that cannot be used."""
    found = read_procedure({name: value for name, value in row.items() if value is not None})
    for name, default in asdict(COMPARED).items():
        value = getattr(found, name)
        if not isinstance(value, (int, float) if isinstance(default, float) else str):
            raise ValueError(f"{name!r} must be a {'number' if isinstance(default, float) else 'text'}, not {value!r}")
    for name in filter(None, (found.input_file, found.output_file)):
        if not is_file_name(name):
            raise ValueError(f"{name!r} is not the name of a file in the working folder")
    if found.function and not found.function.isidentifier():
        raise ValueError(f"'function' must be the name of a function, not {found.function!r}")
    return found


def is_file_name(name: str) -> bool:
    """Return whether a dataset's name of an input or output file is safe to create in the working folder."""
    return bool(_FILE_NAME.fullmatch(name))
