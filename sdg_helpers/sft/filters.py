"""Which solutions become SFT data, and how their answers are trimmed: the recipe's filters under the recipe's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sdg_helpers import files, paths
from sdg_helpers.answers.extraction import find_boxed
from sdg_helpers.errors import SdgError, did_you_mean

# Why a solution is dropped. Each is counted under the first reason that applies.
REASONS = (
    "later_seed",
    "unfinished",
    "no_think_tags",
    "no_verdict",
    "undecided",
    "incorrect",
    "end_token_inside",
    "special_token_inside",
    "thinking_parts",
    "multi_boxed",
    "solution_length",
    "contaminated",
    "problem_length",
    "pass_rate",
    "unsure_label",
    "duplicate",
)
_PREFIX = "My solution:\n"
_DELIMITER = re.compile(r"\\\\|\\[\[\]()]|\\(?:begin|end)\{|\$\$|\n")  # `\\` is a line break, also in `\\[2pt]`


class Filters(BaseModel):
    """The recipe's filters, with its values for math data. Lengths are in tokens; None = no bound.

    Trimming and counting boxes concern only the answer, the text after the thinking, so `</think>` is never cut off.
    Each field's description says what it does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    use_judgement: bool = Field(True, description="keep only solutions judged right; False: keep any verdict")
    max_seeds: int | None = Field(
        None, ge=1, description="use only this many solutions per problem, those of the first seeds (not in the recipe)"
    )
    remove_unfinished: bool = Field(
        True, description="drop solutions that the model did not finish by itself (not in the recipe)"
    )
    remove_no_think_tags: bool = Field(True, description="drop solutions without a closed thinking part")
    drop_multi_boxed: bool = Field(False, description="drop answers with more than one box")
    trim_prefix: bool = Field(False, description='remove "My solution:" from the start of the answer')
    trim_solutions: bool = Field(True, description="cut the answer after the line (or formula) that holds its box")
    remove_contaminated: bool = Field(False, description="drop problems that contamination_file marks")
    contamination_file: str | None = Field(
        None, description="path of a JSONL file whose rows have `problem` and `contaminated`"
    )
    remove_len_outlier_problems: bool = Field(False, description="drop problems outside the next two bounds")
    min_problem_length: int | None = Field(None, description="shortest problem, in tokens of TOKENIZER")
    max_problem_length: int | None = Field(None, description="longest problem, in tokens of TOKENIZER")
    remove_len_outlier_solutions: bool = Field(False, description="drop solutions outside the next two bounds")
    min_solution_length: int | None = Field(None, description="shortest solution, in tokens of the model that wrote it")
    max_solution_length: int | None = Field(None, description="longest solution, in tokens of the model that wrote it")
    min_pass_rate: float | None = Field(
        None, ge=0, le=1, description="drop problems that are solved less often than this, 0 to 1"
    )
    max_pass_rate: float | None = Field(
        None,
        ge=0,
        le=1,
        description="drop problems that are solved more often than this, 0 to 1; 0.99 drops those always solved",
    )
    max_expected_error: float | None = Field(
        None, ge=0, le=1, description="drop problems whose label is wrong with a higher probability; needs labels"
    )
    deduplicate: bool = Field(True, description="keep one of several identical solutions of a problem")

    @field_validator("contamination_file", mode="before")
    @classmethod
    def _accept_path(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @model_validator(mode="after")
    def _check_combinations(self) -> Filters:
        for name, bounds in (("problem", self.problem_bounds), ("solution", self.solution_bounds)):
            if getattr(self, f"remove_len_outlier_{name}s") and bounds == (None, None):
                raise ValueError(
                    f"remove_len_outlier_{name}s needs a bound: set min_{name}_length or max_{name}_length"
                )
        if self.remove_contaminated and not self.contamination_file:
            raise ValueError("remove_contaminated needs contamination_file (JSONL rows: `problem`, `contaminated`)")
        return self

    @classmethod
    def parse(cls, values: Filters | Mapping[str, Any]) -> Filters:
        """Return filters from a mapping of names to values. Raises SdgError for an unknown name or a bad value."""
        if isinstance(values, Filters):
            return values
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise SdgError("\n".join(_explain(one) for one in error.errors())) from None

    @property
    def problem_bounds(self) -> tuple[int | None, int | None]:
        """Smallest and largest length of a problem, in tokens."""
        return self.min_problem_length, self.max_problem_length

    @property
    def solution_bounds(self) -> tuple[int | None, int | None]:
        """Smallest and largest length of a solution, in tokens."""
        return self.min_solution_length, self.max_solution_length

    @property
    def rate_bounds(self) -> tuple[float | None, float | None]:
        """Smallest and largest pass rate of a problem."""
        return self.min_pass_rate, self.max_pass_rate

    @property
    def changes_answers(self) -> bool:
        """Whether any filter trims answers."""
        return self.trim_prefix or self.trim_solutions

    def contaminated_problems(self) -> frozenset[str]:
        """Return the content ids of the problems that the contamination file marks."""
        if not self.remove_contaminated or self.contamination_file is None:
            return frozenset()
        rows = files.read_jsonl(paths.resolve_path(self.contamination_file))
        return frozenset(files.content_id(row["problem"].strip()) for row in rows if row.get("contaminated"))

    def as_parameters(self) -> dict[str, Any]:
        """Return the filters as a manifest records them."""
        return self.model_dump()

    def trim(self, answer: str) -> str:
        """Return an answer (the text after `</think>`) as it is exported."""
        if self.trim_prefix:
            lead = len(answer) - len(answer.lstrip())
            answer = answer[:lead] + answer[lead:].removeprefix(_PREFIX)
        if self.trim_solutions and (box := find_boxed(answer)):
            answer = answer[: _line_end(answer, box[1])]
        return answer


def _explain(error: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors in terms of filters."""
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = list(Filters.model_fields)
        return f"filter {name!r}: unknown name.{did_you_mean(name, known)} Filters: {', '.join(known)}."
    if not name:
        return f"filters: {error['msg'].removeprefix('Value error, ')}."
    return f"filter {name}: {error['msg']}, found {error['input']!r}."


def _line_end(text: str, position: int) -> int:
    r"""Return where to cut: the end of the line that holds `position`, or of the first later line where every formula
    is closed, so that `\[`, a line with the box and `\]` stay together. A formula that is never closed ends with its
    line."""
    depth, dollars, first = 0, False, -1
    for match in _DELIMITER.finditer(text):
        token = match[0]
        if token == "\n" and match.start() >= position:
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
    """Return whether a length or rate is within two inclusive bounds; None = no bound."""
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)
