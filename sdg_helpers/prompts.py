"""A prompt: a YAML file (prompts/TRACK/NAME.yaml) that turns a row into chat messages."""

from __future__ import annotations

import string
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sdg_helpers import files, paths
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.validation import read_yaml, validate


class Turn(BaseModel):
    """A worked example as two chat turns. Both texts are literal: braces are braces."""

    model_config = ConfigDict(extra="forbid")
    user: str
    assistant: str


class FewShotExamples(BaseModel):
    """Examples inside the user message, in the format of NeMo-Skills; they fill the placeholder {examples}."""

    model_config = ConfigDict(extra="forbid")
    prefix: str = ""
    template: str = ""
    suffix: str = ""
    examples_type: str | None = None
    examples: list[dict[str, str]] = []


class Prompt(BaseModel):
    """A prompt. `system` and the few-shot turns are literal texts; `user` has {placeholders} that a row fills.

    The text of a row is never a template.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    purpose: str = ""
    placeholders: dict[str, str] = {}
    output: str = ""
    system: str | None = None
    user: str
    few_shot_turns: list[Turn] = []
    few_shot_examples: FewShotExamples = FewShotExamples()
    code_tags: Any = None  # some prompts of NeMo-Skills have these two; reasoning without tools ignores them
    image_field: Any = None

    @property
    def id(self) -> str:
        """16 hex digits that identify what the model is shown; notes such as `purpose` do not change them."""
        return files.content_id(self.model_dump_json(include={"system", "user", "few_shot_turns", "few_shot_examples"}))

    @cached_property
    def _parts(self) -> list[tuple[str, str | None]]:
        return _parse(self.user, self.name)

    @property
    def fields(self) -> list[str]:
        """The keys that a row must have to fill the user message."""
        return [field for _, field in self._parts if field is not None and field != "examples"]

    @cached_property
    def _examples(self) -> str:
        shots = self.few_shot_examples
        if shots.examples_type and not shots.examples:
            raise SdgError(
                f"prompt {self.name}: few_shot_examples has no examples, only examples_type {shots.examples_type!r}, "
                "the name of a list inside NeMo-Skills. Write the examples into the file as "
                "`few_shot_examples: {examples: […]}`, or set examples_type to null."
            )
        template = _parse(shots.template, self.name)
        filled = "".join(_fill(template, example, self.name) for example in shots.examples)
        return f"{shots.prefix}{filled}{shots.suffix}" if filled else ""

    def user_text(self, row: dict[str, Any]) -> str:
        """Return the user message for one row, without few-shot turns: the input of an SFT row.

        Raises SdgError when the row lacks the key of a placeholder.
        """
        return _fill(self._parts, {"examples": self._examples, **row} if self._examples else row, self.name)

    def messages(self, row: dict[str, Any]) -> list[dict[str, str]]:
        """Return the chat messages for one row: system message, few-shot turns, then the user message."""
        return [*self._opening, {"role": "user", "content": self.user_text(row)}]

    @cached_property
    def _opening(self) -> list[dict[str, str]]:
        opening = [{"role": "system", "content": self.system}] if self.system else []
        for turn in self.few_shot_turns:
            opening += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.assistant}]
        return opening


def prompt_path(name: str | Path) -> Path:
    """Return the path of a prompt's file, which need not exist."""
    by_path = str(name).endswith((".yaml", ".yml"))
    return paths.resolve_path(name) if by_path else paths.prompts_folder() / f"{name}.yaml"


def load_prompt(name: str | Path) -> Prompt:
    """Read a prompt by name ("math/solve", from prompts/) or by path to a YAML file.

    Prompt files of NeMo-Skills load unchanged. Raises SdgError for a missing file, a wrong key and a bad template.
    """
    path = prompt_path(name)
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        folder = paths.prompts_folder()
        known = sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))
        raise SdgError(
            f"prompt {str(name)!r}: {path} does not exist.{did_you_mean(str(name), known)} "
            f"Known prompts: {', '.join(known)}."
        ) from None
    if not isinstance(content, dict):
        raise SdgError(
            f"{path}: expected a mapping with the key `user`, found {type(content).__name__}. "
            "See prompts/README.md for the format."
        )
    given = {key: value for key, value in content.items() if value is not None}
    prompt = validate(Prompt, {"name": str(name), **given}, path)
    _ = prompt._parts, prompt._examples  # reject a bad template now, before any request is sent
    return prompt


def _parse(template: str, name: str) -> list[tuple[str, str | None]]:
    """Split a template into (literal, field) pairs; a field is None after the last literal.

    Raises SdgError unless every field is a plain name: `{row.__class__}` and `{row[0]}` are rejected.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise SdgError(
            f"prompt {name}: the template does not parse ({error}). Write {{{{ and }}}} for literal braces."
        ) from None
    for _, field, spec, conversion in parsed:
        if field is not None and (not field.isidentifier() or spec or conversion):
            raise SdgError(
                f"prompt {name}: expected a plain {{placeholder}}, found {{{field}}}. "
                "Write {{ and }} for literal braces."
            )
    return [(literal, field) for literal, field, _, _ in parsed]


def _fill(parts: list[tuple[str, str | None]], row: dict[str, Any], name: str) -> str:
    """Return a template's text with a row's values; {examples} may be missing and is then empty."""
    out = []
    for literal, field in parts:
        out.append(literal)
        if field is None:
            continue
        if field in row:
            out.append(row[field] if isinstance(row[field], str) else str(row[field]))
        elif field != "examples":
            raise SdgError(
                f"prompt {name}: a row has no key {field!r}, which the prompt needs; it has "
                f"{', '.join(map(str, row)) or 'no keys'}.{did_you_mean(field, map(str, row))} "
                "Add the key to the data, or use another prompt."
            )
    return "".join(out)
