"""The command line's parser: whole words only, and a hint for a word that is misspelled."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from sdg_helpers.errors import did_you_mean

_UNKNOWN_COMMAND = re.compile(r"invalid choice: '([^']*)'")
_UNKNOWN_WORDS = re.compile(r"unrecognized arguments: (\S+)")

START = """\
Three commands to begin with:
  sdg try math --profile P    put eight problems through every stage, and project the cost of the whole
  sdg run math --profile P    run the notebooks, or resume; P: demo (a model on this machine), endpoint, slurm, …
  sdg status                  how far every run is
All others: sdg --help"""


class Parser(argparse.ArgumentParser):
    """Rejects abbreviated options, which a later option could make ambiguous."""

    def __init__(self, *words: Any, **options: Any):
        super().__init__(*words, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Print the error, with the closest known word, and exit with 2."""
        if found := _UNKNOWN_COMMAND.search(message):
            message = f"{message}.{did_you_mean(found[1], self._choices())}" if self._choices() else message
        elif found := _UNKNOWN_WORDS.search(message):
            message += f".{did_you_mean(found[1].partition('=')[0], self._all_options())}"
        super().error(message)

    def _choices(self) -> list[str]:
        return [str(choice) for action in self._actions for choice in action.choices or ()]

    def _all_options(self) -> list[str]:
        """The options of this parser and of its commands."""
        own = list(self._option_string_actions)
        commands = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        return own + [word for each in commands for parser in each.values() for word in parser._option_string_actions]
