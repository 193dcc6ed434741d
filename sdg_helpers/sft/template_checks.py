"""Check what a trainer sees: render and tokenize exported rows as trainers do, and compare them with the model's text.

Two ways of tokenizing matter. The texts `input` and `output` are given to the tokenizer, which may add tokens of its
own (TRL's prompt and completion). Messages are rendered by the chat template, which may drop, move or add text, and
then tokenized without further special tokens.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from sdg_helpers import files
from sdg_helpers.answers.thinking import CLOSE, OPEN, split_thinking
from sdg_helpers.errors import SdgError
from sdg_helpers.sft.chat_templates import ChatTemplate

# Rows and bytes of each file that are rendered and tokenized; every row is searched for marks while it is written.
SAMPLE, _SAMPLE_BYTES = 16, 256 << 10
SECOND_END = "the trainer adds no second end"  # the only finding that a trainer's setting resolves
_OTHER_FILE = "Train on input and output, or on another form without this finding."


class TemplateCheck(TypedDict):
    """One check of one form. ok: whether every sampled row passes; remedy: what to do otherwise."""

    form: str
    check: str
    ok: bool
    found: str
    remedy: str


class _Finding(NamedTuple):
    check: str
    ok: bool
    found: str
    remedy: str = ""


def check_files(template: ChatTemplate, paths: Mapping[str, Path]) -> list[TemplateCheck]:
    """Check the first rows of each form's file; paths: by form. Return one entry per form and check."""
    checks: list[TemplateCheck] = []
    for form, path in paths.items():
        by_check: dict[str, Counter[_Finding]] = defaultdict(Counter)
        for row in _sample(path):
            for finding in check_row(template, form, row):
                by_check[finding.check][finding] += 1
        checks += [_summary(form, findings) for findings in by_check.values()]
    return checks


def _sample(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            yield files.parse_row(line, path, number)
            if number == SAMPLE or file.tell() > _SAMPLE_BYTES:
                return


def _summary(form: str, findings: Counter[_Finding]) -> TemplateCheck:
    worst, count = min(findings.items(), key=lambda item: (item[0].ok, -item[1]))
    total = sum(findings.values())
    found = worst.found + ("" if count == total else f" ({count} of {total} rows)")
    return {
        "form": form,
        "check": worst.check,
        "ok": worst.ok,
        "found": found,
        "remedy": "" if worst.ok else worst.remedy,
    }


def check_row(template: ChatTemplate, form: str, row: Mapping[str, Any]) -> Iterable[_Finding]:
    """Yield the findings about one row of a form."""
    if form == "input_output":
        return _check_texts(template, row["input"], row["output"])
    if form == "sharegpt":
        roles = {"human": "user", "gpt": "assistant"}
        messages = [
            {"role": roles.get(turn["from"], turn["from"]), "content": turn["value"]} for turn in row["conversations"]
        ]
    else:
        messages = row["messages"]
    return _check_messages(template, messages)


def _check_texts(template: ChatTemplate, prompt: str, output: str) -> Iterator[_Finding]:
    tokenizer, end, eos = template.tokenizer, template.end, template.tokenizer.eos_token
    prompt_ids, ids = tokenizer(prompt)["input_ids"], tokenizer(prompt + output)["input_ids"]
    yield _bos(template, prompt_ids)
    if ids[: len(prompt_ids)] == prompt_ids:
        yield _Finding("the input is the start of the row's tokens", True, "yes")
    else:
        yield _Finding(
            "the input is the start of the row's tokens",
            False,
            "its last token merges with the output",
            "Tokenize input and output separately.",
        )
    completion = ids[len(prompt_ids) :]
    end_ids = tokenizer.encode(end, add_special_tokens=False)
    yield _end_of_turn(template, completion, end_ids, output)
    if eos and not end.endswith(eos):
        yield _Finding(
            SECOND_END,
            False,
            f"the row ends with {end}, the tokenizer's eos_token is {eos}, "
            "and trainers append it to texts that do not end with it",
            f'Set the trainer\'s eos_token to "{end}".',
        )
    special = {tokenizer.convert_tokens_to_ids(token) for token in template.special}
    inside = sorted({tokenizer.convert_ids_to_tokens(one) for one in completion[: -len(end_ids)] if one in special})
    yield _Finding("no special token inside", not inside, ", ".join(inside) or "none", "Report this row.")
    opened, closed = (prompt[-64:] + output).count(OPEN), (prompt[-64:] + output).count(CLOSE)
    yield _Finding("one thinking part", opened == closed <= 1, _parts(opened, closed), "Report this row.")


def _bos(template: ChatTemplate, ids: list[int]) -> _Finding:
    bos = template.tokenizer.bos_token_id
    if bos is None:
        return _Finding("one BOS", True, "this tokenizer has none")
    count = ids.count(bos)
    if count == 0:
        return _Finding("one BOS", True, "none: neither template nor tokenizer writes one")
    return _Finding("one BOS", count == 1, f"{count}", "Turn off the trainer's own BOS (add_special_tokens).")


def _end_of_turn(template: ChatTemplate, completion: list[int], end_ids: list[int], output: str) -> _Finding:
    check, end, last = "one end of turn and nothing after it", template.end, end_ids[-1]
    if not output.endswith(end):
        return _Finding(check, False, "none: the row is cut off", "Keep the filter remove_unfinished on.")
    if template.tokenizer.convert_ids_to_tokens(last) not in template.special:
        return _Finding(
            check,
            False,
            f"{end!r} is {len(end_ids)} tokens of text, and none that ends a turn",
            "Use a tokenizer whose vocabulary has the template's tokens.",
        )
    if completion.count(last) == 1 and completion[-len(end_ids) :] == end_ids:
        return _Finding(check, True, end)
    final = template.tokenizer.convert_ids_to_tokens(completion[-1]) if completion else "none"
    return _Finding(
        check,
        False,
        f"{completion.count(last)} × {end}, and the last token is {final}",
        "Turn off the tokenizer's own end (add_eos_token).",
    )


def _check_messages(template: ChatTemplate, messages: list[dict[str, str]]) -> Iterator[_Finding]:
    try:
        text = template.render(messages, add_generation_prompt=False)
    except SdgError as error:
        yield _Finding("the template takes the messages", False, str(error), _OTHER_FILE)
        return
    yield _bos(template, template.tokenizer.encode(text, add_special_tokens=False))
    last = messages[-1]
    thinking, answer = split_thinking(last["content"])
    thinking, answer = last.get("reasoning_content") or thinking or "", answer.strip()
    question = next(message["content"] for message in reversed(messages) if message["role"] == "user")
    turn = text.partition(question.strip())[2] or text
    yield _thinking(turn, thinking.strip())
    if answer not in turn:
        yield _Finding("the answer is unchanged", False, "the template changes it", _OTHER_FILE)
        return
    yield _Finding("the answer is unchanged", True, "yes")
    yield _end_of_messages(template, turn.rpartition(answer)[2])


def _thinking(turn: str, thinking: str) -> _Finding:
    """Check how the assistant's turn, as rendered, has the model's thinking."""
    opened, closed = turn.count(OPEN), turn.count(CLOSE)
    if thinking and thinking not in turn:
        return _Finding(
            "one thinking part",
            False,
            "the template drops the thinking: a model would learn to answer without it",
            "Train on input and output, or on the form reasoning_content if it has no such finding.",
        )
    if thinking and (opened, closed) == (0, 0):
        return _Finding("one thinking part", True, "in the template's own form, without think tags")
    if opened != closed or opened > 1:
        return _Finding("one thinking part", False, f"{_parts(opened, closed)}: the template adds its own", _OTHER_FILE)
    if not thinking and opened:
        return _Finding("one thinking part", True, "an empty one, which the template writes before an answer")
    return _Finding("one thinking part", True, _parts(opened, closed))


def _end_of_messages(template: ChatTemplate, tail: str) -> _Finding:
    check, rest = "one end of turn and nothing after it", tail.strip().removeprefix(template.end)
    if rest:
        return _Finding(
            check, False, f"the template writes {tail!r}", f'Set the trainer\'s eos_token to "{template.end}".'
        )
    space = tail[tail.rfind(template.end) + len(template.end) :]
    return _Finding(check, True, template.end + (f", then {space!r} between turns" if space else ""))


def _parts(opened: int, closed: int) -> str:
    return f"{opened}" if opened == closed else f"{opened} opening, {closed} closing tags"
