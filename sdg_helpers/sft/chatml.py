"""The tokenizer "chatml" that ships with the cookbook, without transformers, which takes longer to load than to use.

It does what `transformers.AutoTokenizer` does with the same folder, for the methods that the export calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer


class ChatMLTokenizer:
    """folder: has tokenizer.json, tokenizer_config.json and chat_template.jinja."""

    bos_token = None
    bos_token_id = None

    def __init__(self, folder: Path):
        self._folder = folder
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._source = (folder / "chat_template.jinja").read_text()
        config = json.loads((folder / "tokenizer_config.json").read_text())
        self.eos_token: str = config["eos_token"]
        self.all_special_tokens: list[str] = [config["eos_token"], config["pad_token"]]

    def __reduce__(self) -> tuple[type[ChatMLTokenizer], tuple[Path]]:
        """Travel to a job as the folder's path: a rendered template cannot be pickled."""
        return ChatMLTokenizer, (self._folder,)

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]:
        """The added tokens by id."""
        return self._tokenizer.get_added_tokens_decoder()

    def get_chat_template(self) -> str:
        """Return the source of the template."""
        return self._source

    @cached_property
    def _template(self) -> Any:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(self._source)

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], *, tokenize: bool, add_generation_prompt: bool, **options: Any
    ) -> str:
        """Return the conversation as one text. tokenize must be False."""
        return str(self._template.render(messages=messages, add_generation_prompt=add_generation_prompt, **options))

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the ids of a text; this tokenizer adds no tokens of its own."""
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def __call__(self, text: str) -> dict[str, list[int]]:
        """Return {"input_ids": …}."""
        return {"input_ids": self.encode(text)}

    def convert_tokens_to_ids(self, token: str) -> int | None:
        """Return a token's id, None for none of the vocabulary."""
        found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def convert_ids_to_tokens(self, number: int) -> str | None:
        """Return the token of an id."""
        return self._tokenizer.id_to_token(number)
