"""Which solutions become SFT data, and how their answers are trimmed: the recipe's filters by the recipe's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sdg_helpers import files, paths
from sdg_helpers.answers.extraction import find_boxed
from sdg_helpers.errors import SdgError, did_you_mean

# Why a solution is left out; each is counted under the first of these that applies.
REASONS = (
    "unfinished",
    "no_think_tags",
    "no_verdict",
    "undecided",
    "incorrect",
    "end_token_inside",
    "multi_boxed",
    "solution_length",
    "contaminated",
    "problem_length",
    "pass_rate",
    "duplicate",
)
_PREFIX = "My solution:\n"
_DELIMITER = re.compile(r"\\\\|\\[\[\]()]|\\(?:begin|end)\{|\$\$|\n")  # `\\` is a line break, also in `\\[2pt]`
_TYPES = {
    "bool": ("True or False", bool),
    "str | None": ("a path or None", (str, Path, type(None))),
    "int | None": ("a whole number or None", (int, type(None))),
    "float | None": ("a number or None", (int, float, type(None))),
}


def _filter(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Filters:
    """The recipe's filters, with the values that it gives for math data. Lengths are in tokens, None = no bound.
    `metadata["meaning"]` of its fields says what each does.

    What is cut or counted by boxes concerns the answer after the thinking only, so that `</think>` is never cut off.
    """

    use_judgement: bool = _filter(True, "keep what was judged right; False: whatever the verdict")
    remove_unfinished: bool = _filter(True, "drop what the model did not end by itself (not in the recipe)")
    remove_no_think_tags: bool = _filter(True, "drop what has no closed thinking part")
    drop_multi_boxed: bool = _filter(False, "drop answers with more than one box")
    trim_prefix: bool = _filter(False, 'cut "My solution:" in front of the answer')
    trim_solutions: bool = _filter(True, "cut what follows the line (or the formula) that holds the answer's box")
    remove_contaminated: bool = _filter(False, "drop the problems that contamination_file marks")
    contamination_file: str | None = _filter(None, "path of a JSONL file whose rows have problem and contaminated")
    remove_len_outlier_problems: bool = _filter(False, "drop problems outside the two bounds below")
    min_problem_length: int | None = _filter(None, "shortest problem, in tokens of TOKENIZER")
    max_problem_length: int | None = _filter(None, "longest problem, in tokens of TOKENIZER")
    remove_len_outlier_solutions: bool = _filter(False, "drop solutions outside the two bounds below")
    min_solution_length: int | None = _filter(None, "shortest solution, in tokens of the model that wrote it")
    max_solution_length: int | None = _filter(None, "longest solution, in tokens of the model that wrote it")
    min_pass_rate: float | None = _filter(None, "drop problems that are solved less often, 0 to 1")
    max_pass_rate: float | None = _filter(
        None, "drop problems that are solved more often, 0 to 1; 0.99 drops what is always solved"
    )
    deduplicate: bool = _filter(True, "keep one of equal solutions of a problem")

    def __post_init__(self) -> None:
        for one in fields(self):
            value, (expected, kinds) = getattr(self, one.name), _TYPES[one.type]
            if not isinstance(value, kinds) or isinstance(value, bool) != (kinds is bool):  # a bool is an int to Python
                raise SdgError(f"filter {one.name}: expected {expected}, found {value!r}.")
        for name, bounds in (("problems", self.problem_bounds), ("solutions", self.solution_bounds)):
            if getattr(self, f"remove_len_outlier_{name}") and bounds == (None, None):
                raise SdgError(
                    f"filter remove_len_outlier_{name}: expected a bound with it, found none. Set "
                    f"min_{name[:-1]}_length or max_{name[:-1]}_length."
                )
        for name in ("min_pass_rate", "max_pass_rate"):
            if (rate := getattr(self, name)) is not None and not 0 <= rate <= 1:
                raise SdgError(f"filter {name}: expected a share between 0 and 1, found {rate!r}.")
        if self.remove_contaminated and not self.contamination_file:
            raise SdgError(
                "filter remove_contaminated: expected a contamination_file with it (JSONL rows with "
                "`problem` and `contaminated`), found none."
            )

    @classmethod
    def named(cls, values: Filters | Mapping[str, Any]) -> Filters:
        """Filters from a mapping by name; raises SdgError for a name that is none of theirs."""
        if isinstance(values, cls):
            return values
        known = [one.name for one in fields(cls)]
        for name in values:
            if name not in known:
                raise SdgError(f"filter {name!r}: expected one of {', '.join(known)}.{did_you_mean(name, known)}")
        return cls(**values)

    @property
    def problem_bounds(self) -> tuple[int | None, int | None]:
        """Smallest and largest length of a problem."""
        return self.min_problem_length, self.max_problem_length

    @property
    def solution_bounds(self) -> tuple[int | None, int | None]:
        """Smallest and largest length of a solution."""
        return self.min_solution_length, self.max_solution_length

    @property
    def rate_bounds(self) -> tuple[float | None, float | None]:
        """Smallest and largest pass rate of a problem."""
        return self.min_pass_rate, self.max_pass_rate

    @property
    def changes_answers(self) -> bool:
        """True when answers are cut."""
        return self.trim_prefix or self.trim_solutions

    def contaminated_problems(self) -> frozenset[str]:
        """Ids of the problems that the contamination file marks."""
        if not self.remove_contaminated:
            return frozenset()
        rows = files.read_jsonl(paths.resolve_path(self.contamination_file))
        return frozenset(files.content_id(row["problem"].strip()) for row in rows if row.get("contaminated"))

    def as_parameters(self) -> dict[str, Any]:
        """What a manifest records of them."""
        return asdict(self)

    def trimmed(self, answer: str) -> str:
        """The answer text (what follows `</think>`) as it is exported."""
        if self.trim_prefix:
            lead = len(answer) - len(answer.lstrip())
            answer = answer[:lead] + answer[lead:].removeprefix(_PREFIX)
        if self.trim_solutions and (box := find_boxed(answer)):
            answer = answer[: _line_end(answer, box[1])]
        return answer


def _line_end(text: str, place: int) -> int:
    r"""Where the line of a place ends, or the first later line that leaves no formula open: `\[`, a line with the box,
    `\]` stay together. A formula that is never closed is cut at its line."""
    depth, dollars, first = 0, False, -1
    for match in _DELIMITER.finditer(text):
        token = match[0]
        if token == "\n" and match.start() >= place:
            first = match.start() if first < 0 else first
            if not depth and not dollars:
                return match.start()
        elif token == "$$":
            dollars = not dollars
        elif token in (r"\[", r"\(", r"\begin{"):
            depth += 1
        elif token in (r"\]", r"\)", r"\end{"):
            depth = max(0, depth - 1)
    return first if first >= 0 and (depth or dollars) else len(text)


def within(value: float, bounds: tuple[float | None, float | None]) -> bool:
    """Whether a length or a rate lies between two bounds, either of which may be None."""
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)
