"""A notebook's parameters: what it has, and the values that a profile and the command line give them."""
from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ..errors import SdgError, did_you_mean

if TYPE_CHECKING:
    from . import Notebook
    from ..profiles import Profile

GIVEN_BY_RUN = {"RUN": "--run", "PROFILE": "--profile"}
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
        """The value in the default's type (4 for a float is 4.0). None is allowed where the comment speaks of None.

        Raises SdgError naming `where` for a value of another type.
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
            raise SdgError(f"{where}: {self.name}: expected {same.__name__} (the default is {self.default}), found "
                           f"{type(value).__name__} {value!r}." + (f" {self.name} is: {self.help}" if self.help else ""))
        return value

    def parse(self, text: str, where: str) -> Any:
        """The value of a command-line text, read as a YAML literal; for a text parameter it is the text itself."""
        if isinstance(self.value, str):
            return text
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if isinstance(value, str):  # YAML 1.1 takes 1e-3 for a text
            with suppress(ValueError):
                value = float(value)
        plain = isinstance(value, (str, int, float, bool, list, dict, type(None)))
        return self.check(value if plain else text, where)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def values_for(selected: Sequence[Notebook], every: Sequence[Notebook], profile: Profile,
               overrides: Sequence[tuple[str, str]] = ()) -> dict[str, dict[str, Any]]:
    """What each selected notebook is given, by its key: the profile's `all`, the profile's own, then `overrides`.

    every: all notebooks there are; the whole profile is checked against them. Names match whatever their case.
    Raises SdgError for an unknown notebook, an unknown parameter and a value of a wrong type.
    """
    from . import find
    from ..profiles import refuse_secrets

    refuse_secrets(dict(overrides), "-p")
    given: dict[str, dict[str, Any]] = {notebook.key: {} for notebook in every}
    sections = sorted(profile.parameters.items(), key=lambda item: item[0] != "all")
    for section, settings in sections:
        where = f"{profile.path}, parameters: {section}"
        notebooks = every if section == "all" else [find(section, every, f"{profile.path}, parameters:")]
        for name, value in (settings or {}).items():
            for notebook, parameter in _having(name, notebooks, every, where):
                given[notebook.key][parameter.name] = parameter.check(value, where)
    for name, text in overrides:
        for notebook, parameter in _having(name, selected, every, "-p"):
            given[notebook.key][parameter.name] = parameter.parse(text, "-p")
    return {notebook.key: given[notebook.key] for notebook in selected}


def _having(name: str, notebooks: Sequence[Notebook], every: Sequence[Notebook],
            where: str) -> list[tuple[Notebook, Parameter]]:
    """(notebook, parameter) for each of the notebooks that has the parameter; raises SdgError when none has."""
    wanted = _folded(str(name))
    if wanted.upper() in GIVEN_BY_RUN:
        raise SdgError(f"{where}: {name}: it is given by {GIVEN_BY_RUN[wanted.upper()]}, not as a parameter.")
    found = [(notebook, parameter) for notebook in notebooks
             for parameter in notebook.parameters.values() if _folded(parameter.name) == wanted]
    if not found:
        allowed = sorted({one for notebook in notebooks for one in notebook.parameters} - GIVEN_BY_RUN.keys())
        others = [notebook.key for notebook in every
                  if wanted in map(_folded, notebook.parameters) and notebook not in notebooks]
        hint = f" {', '.join(others)} has it, but is not selected here." if others else did_you_mean(name, allowed)
        raise SdgError(f"{where}: unknown parameter {name}.{hint} Parameters of {_listed(notebooks)}: "
                       f"{', '.join(allowed) or 'none'}.")
    return found


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _listed(notebooks: Sequence[Notebook]) -> str:
    keys = [notebook.key for notebook in notebooks]
    return ", ".join(keys) if len(keys) < 3 else f"{keys[0]} … {keys[-1]}"


def refuse_unknown_injected() -> None:
    """In a notebook: raise SdgError when papermill was given a parameter that the notebook does not have.

    Papermill alone warns, on a terminal that nobody watches, and then runs with the default.
    """
    known: set[str] = set()
    for source in _cells_run():
        names = list(_assigned(source))
        for name in names if source.startswith("# Parameters\n") else ():
            if name not in known:
                own = sorted(one for one in known if one.isupper())
                raise SdgError(f"parameter {name}: this notebook does not have it.{did_you_mean(name, own)} "
                               f"Its parameters: {', '.join(own)}.")
        known.update(names)


def _cells_run() -> list[str]:
    """Sources of the cells that this kernel has run so far; empty outside a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return list(shell.user_ns.get("In", ())) if shell else []


def _assigned(source: str) -> Iterator[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell with %magics
        return
    for statement in body:
        for target in getattr(statement, "targets", [getattr(statement, "target", None)]):
            if isinstance(target, ast.Name):
                yield target.id
