"""Read a YAML file into a pydantic model; errors name the file, the key and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sdg_helpers.errors import SdgError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file. Raises SdgError for invalid YAML, which includes a key given twice."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SdgError(f"{path}: invalid YAML: {error}. Fix the file, then run again.") from None


def validate(model: type[Model], content: Any, path: Path) -> Model:
    """Return the content of a file as a model. Raises SdgError that lists everything that is wrong with it."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SdgError(f"{path}: " + "\n  ".join(_explain(detail, model) for detail in error.errors())) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """Rejects a key that a mapping has twice: YAML would silently keep the last one.

    Checks before merge keys (`<<: *common`) are expanded: a mapping's own keys override the merged ones.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                message = "braces or brackets where a key belongs; put quotes around a text that contains them"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
            seen.add(key.value)
        return node


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """Return one of pydantic's errors as a sentence: key, value, what is allowed."""
    keys, kind = ".".join(_keys_of(detail["loc"], model)), detail["type"]
    if kind == "extra_forbidden":
        owners, variant = _resolve(detail["loc"][:-1], model)
        allowed = list(dict.fromkeys(name for owner in owners for name in owner.model_fields))
        hint = did_you_mean(str(detail["loc"][-1]), allowed)
        return f"unknown key {keys}{variant}.{hint} Allowed: {', '.join(allowed)}."
    if kind == "missing":
        return f"the key {keys} is missing."
    if kind in ("model_type", "dict_type"):
        return f"expected keys under {keys}, found {detail['input']!r}."
    if kind == "value_error":
        return f"{keys}: {detail['msg'].removeprefix('Value error, ')}.".removeprefix(": ")
    return f"{keys}: {detail['msg']}, found {detail['input']!r}."


def _keys_of(loc: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """Return pydantic's path as the file has it: without the tag that follows the key of a tagged union."""
    return [str(part) for end, part in enumerate(loc) if len(_resolve(loc[:end], model)[0]) <= 1]


def _resolve(loc: Sequence[str | int], model: type[BaseModel]) -> tuple[list[type[BaseModel]], str]:
    """Return the models that can be at a path ([] without any), and " for the engine sglang" in a union."""
    models, variant = [model], ""
    for part in loc:
        if len(models) > 1:  # a tagged union: pydantic's path names the member by its tag
            tags = {one: name for one in models for name, field in one.model_fields.items() if field.default == part}
            models, variant = list(tags), f" for the {next(iter(tags.values()), 'variant')} {part}"
        elif isinstance(part, str):  # an int is the index of a list
            field = models[0].model_fields.get(part) if models else None
            models, variant = _models_in(field.annotation) if field else [], ""
    return models, variant


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in a type such as `Spec | None` or `list[Turn]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
