"""The request that made a problem's solutions: the messages, and how they were sampled."""

from __future__ import annotations

from typing import Any

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.prompts import load_prompt
from sdg_helpers.runs.run import Track

_SETTINGS = ("model", "prompt_name", "temperature", "top_p", "max_tokens", "num_seeds", "run_seed", "extra_body")


class Requests:
    """Fill the prompt of a track's solutions. Before they were begun, there is no prompt."""

    def __init__(self, track: Track):
        stage = track.stage("solutions")
        known = stage.manifest or files.read_json(stage.folder / "begun.json") or {}
        self._parameters: dict[str, Any] = known.get("parameters") or {}
        self._prompt, self.note = None, ""
        if name := self._parameters.get("prompt_name"):
            try:
                self._prompt = load_prompt(name)
            except SdgError as error:
                self.note = f"the prompt cannot be shown: {error}"
            if self._prompt and self._prompt.id != self._parameters.get("prompt"):
                self.note = f"the prompt {name} has changed since: these are the messages as they would be today"

    @property
    def settings(self) -> dict[str, Any]:
        """Return the parameters of generation that a reader wants to see."""
        found = {name: self._parameters.get(name) for name in _SETTINGS}
        return {name: value for name, value in found.items() if value not in (None, {}, "")}

    def messages(self, row: dict[str, Any]) -> tuple[list[dict[str, str]], str]:
        """Return (messages for a problem, a note where they may not be those that were sent)."""
        if self._prompt is None:
            return [], self.note
        try:
            return self._prompt.messages(row), self.note
        except SdgError as error:
            return [], str(error)
