"""Match `-p NAME VALUE` and a profile's parameters to the notebooks that declare them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.notebooks.discovery import Notebook, find
from sdg_helpers.notebooks.parameters import Parameter
from sdg_helpers.profiles import Profile, refuse_secrets

_SET_BY_OPTION = {"RUN": "--run", "PROFILE": "--profile"}


def values_for(
    selected: Sequence[Notebook], every: Sequence[Notebook], profile: Profile, overrides: Sequence[tuple[str, str]] = ()
) -> dict[str, dict[str, Any]]:
    """Return the parameter values of each selected notebook, by its key.

    Later ones win: the profile's section `all`, the notebook's own section, then `overrides` (NAME, VALUE). The whole
    profile is checked against `every`, all notebooks. Names match in any case, and dashes count as underscores.
    Raises SdgError for an unknown notebook, an unknown parameter and a value of the wrong type.
    """
    refuse_secrets(dict(overrides), "-p")
    given: dict[str, dict[str, Any]] = {notebook.key: {} for notebook in every}
    sections = sorted(profile.parameters.items(), key=lambda item: item[0] != "all")
    for section, settings in sections:
        where = f"{profile.path}, parameters: {section}"
        notebooks = every if section == "all" else [find(section, every, f"{profile.path}, parameters:")]
        for name, value in (settings or {}).items():
            for notebook, parameter in _find_parameter(name, notebooks, every, where):
                given[notebook.key][parameter.name] = parameter.check(value, where)
    for name, text in overrides:
        for notebook, parameter in _find_parameter(name, selected, every, "-p"):
            given[notebook.key][parameter.name] = parameter.parse(text, "-p")
    return {notebook.key: given[notebook.key] for notebook in selected}


def _find_parameter(
    name: str, notebooks: Sequence[Notebook], every: Sequence[Notebook], where: str
) -> list[tuple[Notebook, Parameter]]:
    """Return each of the notebooks that declares the parameter, with it. Raises SdgError when no notebook does."""
    wanted = _normalise(str(name))
    if wanted.upper() in _SET_BY_OPTION:
        raise SdgError(f"{where}: {name} cannot be set here; use {_SET_BY_OPTION[wanted.upper()]} instead.")
    found = [
        (notebook, parameter)
        for notebook in notebooks
        for parameter in notebook.parameters.values()
        if _normalise(parameter.name) == wanted
    ]
    if not found:
        allowed = sorted({one for notebook in notebooks for one in notebook.parameters} - _SET_BY_OPTION.keys())
        others = [
            notebook.key
            for notebook in every
            if wanted in map(_normalise, notebook.parameters) and notebook not in notebooks
        ]
        hint = f" It belongs to {', '.join(others)}, not selected here." if others else did_you_mean(name, allowed)
        raise SdgError(
            f"{where}: unknown parameter {name}.{hint} Parameters of {_range_of(notebooks)}: "
            f"{', '.join(allowed) or 'none'}."
        )
    return found


def _normalise(name: str) -> str:
    return name.lower().replace("-", "_")


def _range_of(notebooks: Sequence[Notebook]) -> str:
    keys = [notebook.key for notebook in notebooks]
    return ", ".join(keys) if len(keys) < 3 else f"{keys[0]} … {keys[-1]}"
