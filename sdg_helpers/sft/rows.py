"""Turn one row of a solutions file into its SFT rows.

The solution's text stays JSON-escaped, as in the file: it is copied, never parsed, which gives the export most of its
speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from sdg_helpers import exact_json, files
from sdg_helpers.answers.finish_reasons import ended_by_itself
from sdg_helpers.answers.thinking import CLOSE, OPEN
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.judging.pass_rates import PassRate
from sdg_helpers.judging.verdicts import Verdict
from sdg_helpers.prompts import FewShotExamples, Prompt
from sdg_helpers.sft.chat_templates import ChatTemplate, PromptRenderer
from sdg_helpers.sft.columns import Columns
from sdg_helpers.sft.expected_errors import ExpectedErrors
from sdg_helpers.sft.filters import Filters, within
from sdg_helpers.sft.forms import FORMS, Line, Text, check_extra_keys, check_form
from sdg_helpers.sft.special_tokens import THINKING_TAGS, Marks, thinking_parts
from sdg_helpers.solutions.rows import (
    Solution,
    answer_start,
    escape_json,
    skip_space,
    strip_leading_space,
    unescape_json,
)

PARTS = ("whole", "answer")
PROVENANCE = "provenance"
_ESCAPED_BOX = escape_json(r"\boxed{")
_CLOSING = escape_json(f"\n{CLOSE}\n\n")


@dataclass(frozen=True)
class RowFormat:
    """What an exported row looks like.

    prompt: its system and user texts are used, its worked examples are left out. forms: some of FORMS, one line each
    per solution. extra_keys: keys of the solution to add to every row, e.g. ("id", "seed", "problem_source");
    "pass_rate", "pass_rate_samples" and "provenance" (run, model, prompt, id, seed, how it was judged) are computed.
    text_part: "whole", or "answer" for the text after the thinking. Raises SdgError for an unknown form or part, and
    for a reserved key.
    """

    prompt: Prompt
    template: ChatTemplate = field(default_factory=ChatTemplate)
    forms: Sequence[str] = ("input_output",)
    extra_keys: Sequence[str] = ()
    text_part: str = "whole"

    def __post_init__(self) -> None:
        if not self.forms:
            raise SdgError(f"forms: give at least one of {', '.join(FORMS)}.")
        for form in self.forms:
            check_form(form)
        check_extra_keys(self.extra_keys)
        if self.text_part not in PARTS:
            raise SdgError(
                f"text_part {self.text_part!r} is not one of {', '.join(PARTS)}.{did_you_mean(self.text_part, PARTS)}"
            )


def _is_finished(solution: Solution, verdict: Verdict | None) -> bool:
    """Return whether a solution ended by itself. Without a finish reason, judging found an answer only if it did."""
    ended = ended_by_itself(solution.finish_reason)
    return verdict is not None and verdict.predicted_answer is not None if ended is None else ended


class RowMaker:
    """Decide whether a solution is kept, and write its rows."""

    def __init__(self, row_format: RowFormat, filters: Filters):
        template, prompt = row_format.template, row_format.prompt
        self.text_part = row_format.text_part
        self.origin: Mapping[str, Any] = {}  # what the extra key "provenance" says of every row; the caller fills it
        self.pass_rates: Mapping[
            str, PassRate
        ] = {}  # by problem id; the caller fills it if filters or extra keys need it
        self.columns = Columns()
        self.errors = ExpectedErrors({}, None)  # the caller replaces it if it has labels
        self.prompt = Prompt(**{**prompt.model_dump(), "few_shot_turns": [], "few_shot_examples": FewShotExamples()})
        self.head = [{"role": "system", "content": prompt.system}] if prompt.system else []
        self.filters, self.forms, self.extra_keys = filters, tuple(row_format.forms), tuple(row_format.extra_keys)
        self.render, self._template = PromptRenderer(template, self.head), template
        if self.render.closes_thinking and self.text_part == "whole":
            raise SdgError(
                f"tokenizer {template.name}: its prompt closes the thinking (</think>) before the answer begins, "
                "but the solutions contain thinking. Set the template's option that turns thinking on, e.g. "
                'CHAT_TEMPLATE_OPTIONS = {"thinking": True} or {"enable_thinking": True}.'
            )
        self._end, self._opening = escape_json(template.end), escape_json(self.render.opening)
        self._marks = Marks({*template.special, template.end})
        self._ends = {escape_json(token) for token in (*template.special, template.end) if token in template.tail}
        self._ends |= {escape_json(template.end), escape_json(template.tokenizer.eos_token or template.end)}
        self._contaminated = filters.contaminated_problems()
        self._asked: tuple[Solution | None, str] = (None, "")

    def question(self, solution: Solution) -> str:
        """Return the user message of a solution's rows."""
        if self._asked[0] is not solution:
            self._asked = solution, self.prompt.user_text(solution.keys)
        return self._asked[1]

    def reason_to_drop(self, solution: Solution, verdict: Verdict | None) -> str | None:
        """Return the first reason in filters.REASONS that applies, or None to keep the solution."""
        filters = self.filters
        if self.pass_rates:
            known = self.pass_rates.get(solution.keys["id"])
            solution.keys["pass_rate"], solution.keys["pass_rate_samples"] = known or (None, None)
        if filters.max_seeds is not None and solution.keys.get("seed", 0) >= filters.max_seeds:
            return "later_seed"
        if filters.remove_unfinished and not _is_finished(solution, verdict):
            return "unfinished"
        if filters.remove_no_think_tags and answer_start(solution.text) < 0:
            return "no_think_tags"
        if verdict is None:
            return "no_verdict"
        if filters.use_judgement and not verdict.correct:
            return "undecided" if verdict.correct is None else "incorrect"
        return self._reason_in_content(solution)

    def _reason_in_content(self, solution: Solution) -> str | None:
        filters, problem = self.filters, solution.keys.get("problem", "")
        if reason := self._reason_in_marks(solution):
            return reason
        if filters.drop_multi_boxed and solution.text.count(_ESCAPED_BOX, max(0, answer_start(solution.text))) > 1:
            return "multi_boxed"
        if filters.remove_len_outlier_solutions and not within(solution.tokens, filters.solution_bounds):
            return "solution_length"
        most = filters.max_expected_error
        return self.reason_to_drop_problem(problem, solution.keys.get("pass_rate") or 0) or (
            "unsure_label" if most is not None and self.errors.of_label(solution.keys["id"]) > most else None
        )

    def _reason_in_marks(self, solution: Solution) -> str | None:
        """Return "end_token_inside", "special_token_inside" or "thinking_parts" if one of them applies.

        As in `thinking_shape`, but on bytes: a text has one thinking part, at its start, or none. A prompt that opens
        the thinking may stand for its opening tag.
        """
        found = self._marks.find(solution.text)
        opened, closed = thinking_parts(found)
        inside = [mark for mark in found if mark not in THINKING_TAGS]
        inside += [mark for mark in self._marks.find(escape_json(self.question(solution))) if mark not in THINKING_TAGS]
        if inside:
            return "end_token_inside" if self._ends.intersection(inside) else "special_token_inside"
        at_start = strip_leading_space(solution.text).startswith(THINKING_TAGS[0])
        one = (opened, closed) == (1, 1) and at_start
        unopened = (opened, closed) == (0, 1) and bool(self._opening)
        without = not self.filters.remove_no_think_tags and closed == 0 and opened <= at_start
        return None if one or unopened or without else "thinking_parts"

    def reason_to_drop_problem(self, problem: str, pass_rate: float) -> str | None:
        """Return why every solution of this problem is dropped (the first of filters.REASONS), or None."""
        if self._contaminated and files.content_id(problem.strip()) in self._contaminated:
            return "contaminated"
        length_matters = self.filters.remove_len_outlier_problems
        if length_matters and not within(self._template.length(problem), self.filters.problem_bounds):
            return "problem_length"
        return None if within(pass_rate, self.filters.rate_bounds) else "pass_rate"

    def text(self, solution: Solution) -> tuple[Text, int]:
        """Return the solution's text as it is exported, and where its thinking begins in `solution.text`."""
        start = skip_space(solution.text)
        end = max(start, answer_start(solution.text))
        answer = solution.text[end:]
        if self.text_part == "answer":
            start, answer = end, strip_leading_space(answer)
        if self.filters.changes_answers:
            unescaped = unescape_json(answer)
            trimmed = self.filters.trim(unescaped)
            answer = answer if trimmed == unescaped else escape_json(trimmed)
        return Text(solution.text[start:end], answer), start

    def whole_text(self, solution: Solution) -> bytes:
        """Return the solution's text as it is exported, JSON-escaped."""
        return b"".join(self.text(solution)[0])

    def rows(self, solution: Solution, text: Text, verdict: Verdict) -> list[Line]:
        """Return one line per form, in the order of `forms`. text: what `text` returned."""
        question = self.question(solution)
        answer = exact_json.dumps(self.columns.observe("expected_answer", verdict.expected_answer))
        keys = {key: self.columns.observe(key, self._value(key, solution, verdict)) for key in self.extra_keys}
        tail = b',"expected_answer":' + answer + (b"," + files.dumps(keys)[1:] if keys else b"}\n")
        writers = (FORMS[form].write for form in self.forms)
        lines = (
            write(self.head, question, text) if write else self._input_output(question, text, solution.finish_reason)
            for write in writers
        )
        return [Line(before, start, end, after + tail) for before, start, end, after in lines]

    def _value(self, key: str, solution: Solution, verdict: Verdict) -> Any:
        """Return the value of an extra key.

        "provenance", unless the problem has a key of this name, is where the row comes from, as JSON. With its run, id
        and seed, `sdg why` tells the rest.
        """
        if key != PROVENANCE or key in solution.keys:
            return solution.value(key)
        row = {"id": verdict.id, "seed": solution.keys.get("seed"), "decided_by": verdict.how}
        return exact_json.dumps({**self.origin, **row}).decode()

    def _input_output(self, question: str, text: Text, finish_reason: str) -> Line:
        (thinking, answer), start, closing = text, 0, b""
        if self._opening and self.text_part == "answer":
            closing = _CLOSING  # the prompt ends with <think>, so the output has to close it
        elif self._opening:  # and must not open it again
            opening = self._opening if (thinking or answer).startswith(self._opening) else OPEN.encode()
            if thinking:
                start = len(opening) if thinking.startswith(opening) else 0
            else:
                answer = answer.removeprefix(opening)
        end = self._end if ended_by_itself(finish_reason) is not False else b""  # a truncated text gets no end token
        # A tokenizer that starts every text with its BOS would write a second one.
        prompt = self.render(question).removeprefix(self._template.added_start)
        before = b'{"input":%b,"output":"%b' % (files.dumps(prompt)[:-1], closing)
        return Line(before, start, len(thinking), b'%b%b"' % (answer, end))


def shuffle_key(shuffle_seed: int, problem_id: str, *text: bytes) -> bytes:
    """Return a solution's sort key in the shuffled order. Identical solutions of a problem have equal keys.

    text: of the solution, in one or more parts.
    """
    key = xxhash.xxh3_128(f"{shuffle_seed}/{problem_id}/".encode("utf-8", "replace"))
    for part in text:
        key.update(part)
    return key.digest()
