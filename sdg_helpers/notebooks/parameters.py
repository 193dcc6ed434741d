"""One parameter of a notebook: its name, default and comment; check and parse a value for it."""

from __future__ import annotations

import ast
import io
import tokenize
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    pass

_UNKNOWN = object()


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell: name, the default as written, and its comment."""

    name: str
    default: str
    help: str

    @property
    def value(self) -> Any:
        """The default as a Python value."""
        try:
            return ast.literal_eval(self.default)
        except (ValueError, SyntaxError):
            return _UNKNOWN

    def check(self, value: Any, where: str) -> Any:
        """Return the value converted to the default's type: 4 for a float is 4.0.

        None is allowed where the comment mentions it. Raises SdgError, naming `where`, for a value of another type.
        """
        default = self.value
        if default is None or default is _UNKNOWN or (value is None and "none" in self.help.lower()):
            return value
        if isinstance(default, float) and _is_number(value):
            return float(value)
        if type(default) is int and isinstance(value, float) and value.is_integer():
            return int(value)
        same = list if isinstance(default, tuple) else type(default)
        if type(value) is not same:
            raise SdgError(
                f"{where}: {self.name}: expected {same.__name__} (the default is {self.default}), found "
                f"{type(value).__name__} {value!r}." + (f" {self.name}: {self.help}." if self.help else "")
            )
        return value

    def parse(self, text: str, where: str) -> Any:
        """Return the value of a command-line argument: the text itself for a str parameter, else its YAML literal."""
        if isinstance(self.value, str):
            return text
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string
            with suppress(ValueError):
                value = float(value)
        plain = isinstance(value, (str, int, float, bool, list, dict, type(None)))
        return self.check(value if plain else text, where)


def read_parameters(source: str) -> dict[str, Parameter]:
    """Return the parameters that a cell's source assigns, by name, each with the comment at its end.

    Importing papermill, which does the same, takes a second. Raises SyntaxError for what is not Python.
    """
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name):
                default = ast.get_source_segment(source, node.value) or ""
                found[target.id] = Parameter(target.id, default, comments.get(node.end_lineno or 0, "").strip())
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
