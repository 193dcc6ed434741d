"""A prompt: a YAML file that turns a row into chat messages."""

from __future__ import annotations

import string
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sdg_helpers import files, paths
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.paths import PACKAGE

PROMPTS = PACKAGE.parent / "prompts"


class Turn(BaseModel):
    """A worked example as two chat turns. Both texts are literal: braces in them mean braces."""

    model_config = ConfigDict(extra="forbid")
    user: str
    assistant: str


class FewShotExamples(BaseModel):
    """Examples inside the user message, in the reference's format; they fill `{examples}`."""

    model_config = ConfigDict(extra="forbid")
    prefix: str = ""
    template: str = ""
    suffix: str = ""
    examples_type: str | None = None
    examples: list[dict[str, str]] = []


class Prompt(BaseModel):
    """`system` and turns are literal; `user` has {placeholders} that a row fills; a row's text is never a template."""

    model_config = ConfigDict(extra="forbid")
    name: str
    purpose: str = ""
    placeholders: dict[str, str] = {}
    output: str = ""
    system: str | None = None
    user: str
    few_shot_turns: list[Turn] = []
    few_shot_examples: FewShotExamples = FewShotExamples()
    code_tags: Any = None  # in some reference prompts; not needed for reasoning without tools
    image_field: Any = None

    @property
    def id(self) -> str:
        """16 hex digits of what the model is shown; notes such as `purpose` do not count."""
        return files.content_id(self.model_dump_json(include={"system", "user", "few_shot_turns", "few_shot_examples"}))

    @cached_property
    def _parts(self) -> list[tuple[str, str | None]]:
        return _parse(self.user, self.name)

    @property
    def fields(self) -> list[str]:
        """Names of the row's keys that the user message needs."""
        return [field for _, field in self._parts if field is not None and field != "examples"]

    @cached_property
    def _examples(self) -> str:
        shots = self.few_shot_examples
        if shots.examples_type and not shots.examples:
            raise SdgError(
                f"prompt {self.name}: expected `few_shot_examples.examples`, a list in the file, found only "
                f"examples_type {shots.examples_type!r} (a list inside the reference's own package). "
                "Write the examples into the file, or set examples_type to null."
            )
        template = _parse(shots.template, self.name)
        filled = "".join(_fill(template, example, self.name) for example in shots.examples)
        return f"{shots.prefix}{filled}{shots.suffix}" if filled else ""

    def user_text(self, row: dict[str, Any]) -> str:
        """The user message for one row, without few-shot turns: what an SFT row has as its question.

        Raises SdgError when the row lacks a placeholder's key.
        """
        return _fill(self._parts, {"examples": self._examples, **row} if self._examples else row, self.name)

    def messages(self, row: dict[str, Any]) -> list[dict[str, str]]:
        """Chat messages for one row: system, worked examples as turns, then the question."""
        return [*self._head, {"role": "user", "content": self.user_text(row)}]

    @cached_property
    def _head(self) -> list[dict[str, str]]:
        head = [{"role": "system", "content": self.system}] if self.system else []
        for turn in self.few_shot_turns:
            head += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.assistant}]
        return head


def prompt_path(name: str | Path) -> Path:
    """The file of a prompt, whether it is there or not."""
    return paths.resolve_path(name) if str(name).endswith((".yaml", ".yml")) else PROMPTS / f"{name}.yaml"


def load_prompt(name: str | Path) -> Prompt:
    """Read a prompt by name ("math/solve", from the prompts folder) or by path to a YAML file, from the clone's root.

    The reference's prompt files load as they are. Raises SdgError for a file that is not there or has a wrong key.
    """
    path = prompt_path(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = sorted(p.relative_to(PROMPTS).with_suffix("").as_posix() for p in PROMPTS.rglob("*.yaml"))
        raise SdgError(
            f"prompt {str(name)!r}: expected the file {path}, found none."
            f"{did_you_mean(str(name), known)} Known prompts: {', '.join(known)}."
        ) from None
    except yaml.YAMLError as error:
        raise SdgError(f"{path}: expected YAML, found {error}. Mend the file.") from None
    if not isinstance(content, dict) or not isinstance(content.get("user"), str):
        raise SdgError(
            f"{path}: expected a mapping with a `user` text, found {type(content).__name__}. "
            "See prompts/README.md for the format."
        )
    content = {key: value for key, value in content.items() if value is not None}
    try:
        prompt = Prompt(**{"name": str(name), **content})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SdgError(
            f"{path}: key `{key}`: {first['msg']}.{did_you_mean(key, Prompt.model_fields)} "
            f"Allowed keys: {', '.join(Prompt.model_fields)}."
        ) from None
    _ = prompt._parts, prompt._examples  # a broken template is refused here, before any request is made
    return prompt


def _parse(template: str, name: str) -> list[tuple[str, str | None]]:
    """(literal, field) pairs. Only plain names are fields: `{row.__class__}` and `{row[0]}` are refused."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise SdgError(
            f"prompt {name}: the template does not parse ({error}). Write {{{{ and }}}} where braces are meant."
        ) from None
    for _, field, spec, conversion in parsed:
        if field is not None and (not field.isidentifier() or spec or conversion):
            raise SdgError(
                f"prompt {name}: expected a plain {{placeholder}}, found {{{field}}}. "
                "Write {{ and }} where braces are meant."
            )
    return [(literal, field) for literal, field, _, _ in parsed]


def _fill(parts: list[tuple[str, str | None]], row: dict[str, Any], name: str) -> str:
    out = []
    for literal, field in parts:
        out.append(literal)
        if field is None:
            continue
        if field in row:
            out.append(row[field] if isinstance(row[field], str) else str(row[field]))
        elif field != "examples":
            raise SdgError(
                f"prompt {name}: expected the key {field!r} in every row, found a row with "
                f"{', '.join(map(str, row)) or 'no keys'}.{did_you_mean(field, map(str, row))} "
                "Add the key to the data, or use another prompt."
            )
    return "".join(out)
