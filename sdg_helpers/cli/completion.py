"""Complete words at the Tab key: commands and options by argcomplete, and the names of runs, profiles and notebooks."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import argcomplete

from sdg_helpers import paths


def complete_words(parser: argparse.ArgumentParser) -> None:
    """Print the words that may follow what is typed, and exit. Call it when the shell asks."""
    for each in _with_commands(parser):
        for action in each._actions:
            if isinstance(action.metavar, str) and action.metavar in _NAMES:
                action.completer = _completer(_NAMES[action.metavar])  # type: ignore[attr-defined]  # argcomplete's way
    argcomplete.autocomplete(parser, append_space=True)


def _runs() -> list[str]:
    return [folder.parent.name for folder in paths.outputs_root().glob("*/run.yaml")]


def _profiles() -> list[str]:
    return [file.stem for file in (paths.project_root() / "notebooks" / "profiles").glob("*.yaml")]


def _notebooks() -> list[str]:
    return [f"{file.parent.name}/{file.stem}" for file in (paths.project_root() / "notebooks").glob("*/*.ipynb")]


def _tracks() -> list[str]:
    return sorted({"start", *(name.partition("/")[0] for name in _notebooks())})


# What is completed, by the name under which a command's help shows it.
_NAMES: dict[str, Callable[[], list[str]]] = {
    "RUN": _runs,
    "OTHER": _runs,
    "P": _profiles,
    "NOTEBOOK": lambda: [*_tracks(), *_notebooks()],
    "TRACK": _tracks,
}


def _completer(names: Callable[[], list[str]]) -> Callable[..., list[str]]:
    return lambda **typed: names()


def _with_commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    commands = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    return [parser, *(command for each in commands for command in each.values())]
