"""Match `-p NAME VALUE` and a profile's parameters to the notebooks that declare them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.notebooks.discovery import Notebook, find
from sdg_helpers.notebooks.parameters import Parameter
from sdg_helpers.profiles import Profile, refuse_secrets

GIVEN_BY_RUN = {"RUN": "--run", "PROFILE": "--profile"}


def values_for(
    selected: Sequence[Notebook], every: Sequence[Notebook], profile: Profile, overrides: Sequence[tuple[str, str]] = ()
) -> dict[str, dict[str, Any]]:
    """What each selected notebook is given, by its key: the profile's `all`, the profile's own, then `overrides`.

    every: all notebooks there are; the whole profile is checked against them. Names match whatever their case.
    Raises SdgError for an unknown notebook, an unknown parameter and a value of a wrong type.
    """

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


def _having(
    name: str, notebooks: Sequence[Notebook], every: Sequence[Notebook], where: str
) -> list[tuple[Notebook, Parameter]]:
    """(notebook, parameter) for each of the notebooks that has the parameter; raises SdgError when none has."""
    wanted = _folded(str(name))
    if wanted.upper() in GIVEN_BY_RUN:
        raise SdgError(f"{where}: {name}: it is given by {GIVEN_BY_RUN[wanted.upper()]}, not as a parameter.")
    found = [
        (notebook, parameter)
        for notebook in notebooks
        for parameter in notebook.parameters.values()
        if _folded(parameter.name) == wanted
    ]
    if not found:
        allowed = sorted({one for notebook in notebooks for one in notebook.parameters} - GIVEN_BY_RUN.keys())
        others = [
            notebook.key
            for notebook in every
            if wanted in map(_folded, notebook.parameters) and notebook not in notebooks
        ]
        hint = f" {', '.join(others)} has it, but is not selected here." if others else did_you_mean(name, allowed)
        raise SdgError(
            f"{where}: unknown parameter {name}.{hint} Parameters of {_listed(notebooks)}: "
            f"{', '.join(allowed) or 'none'}."
        )
    return found


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _listed(notebooks: Sequence[Notebook]) -> str:
    keys = [notebook.key for notebook in notebooks]
    return ", ".join(keys) if len(keys) < 3 else f"{keys[0]} … {keys[-1]}"
