"""A tokenizer's chat template: what a model is shown before it answers, and what ends its answer."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from sdg_helpers import files, paths
from sdg_helpers.errors import SdgError
from sdg_helpers.paths import PACKAGE

CHATML = PACKAGE / "data" / "chatml"
_MARK = "sdgMARK7c1e"
_WAYS_OUT = (
    'Give a tokenizer that can be loaded (a hub name such as "Qwen/Qwen2.5-32B-Instruct", a folder), or '
    '"chatml", which ships with the cookbook and needs no network.'
)


class ChatTemplate:
    """The chat template of a tokenizer, by hub name or folder; "chatml" is a minimal one that ships with the cookbook.

    options: keyword arguments that the template itself knows, e.g. {"enable_thinking": True}.
    Raises SdgError when the tokenizer cannot be loaded or has no template.
    """

    def __init__(self, tokenizer: str | Path = "chatml", options: dict[str, Any] | None = None):
        self.name, self.options = str(tokenizer), dict(options or {})
        self.tokenizer = _load(self.name)
        try:
            self.source: str = self.tokenizer.get_chat_template()
        except ValueError:
            raise SdgError(f"tokenizer {self.name}: expected a chat template, found none. {_WAYS_OUT}") from None

    @property
    def id(self) -> str:
        """16 hex digits of the template and its options."""
        return files.content_id(self.source, files.dumps(self.options).decode())

    def render(self, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as one text, by the template itself. Raises SdgError when the template refuses it."""
        try:
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, **self.options, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:  # a template is a program: it may raise anything
            roles = " → ".join(message["role"] for message in messages)
            raise SdgError(
                f"tokenizer {self.name}: its chat template refuses a conversation {roles} "
                f"({type(error).__name__}: {error}). Use a prompt without the part that it refuses, or "
                "another tokenizer."
            ) from error

    @cached_property
    def end(self) -> str:
        """What the template writes after an answer, e.g. `<|im_end|>`; found by rendering one."""
        conversation = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        _, mark, end = self.render(conversation, add_generation_prompt=False).rpartition(_MARK)
        end = (end if end.strip() else self.tokenizer.eos_token) if mark else None
        if not end:
            raise SdgError(
                f"tokenizer {self.name}: expected a chat template that ends an answer with a token, found "
                f"none. {_WAYS_OUT}"
            )
        return end

    def length(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self.tokenizer.encode(text, add_special_tokens=False))


class PromptRenderer:
    """Renders conversations that differ in their last user message only: fast, and as the template itself would.

    The text before and after the user's is found once. That a user's text goes in as it stands is tried with hostile
    texts and with every string that the template's source holds, hence every string that it could look for: a text
    with a string that made a difference is left to the template. So is every text, if even plain ones are changed.
    """

    def __init__(self, template: ChatTemplate, head: list[dict[str, str]] = ()):
        """head: the messages before the user's (a system message)."""
        self.template, self.head = template, list(head)
        self.before, found, self.after = self._by_template(_MARK).partition(_MARK)
        self._strip = found and self._by_template(f" \n{_MARK}\n ") == self.before + _MARK + self.after
        self.plain = bool(found) and _MARK not in self.after and all(map(self._is_plain, _HOSTILE))
        literals = sorted(_literals(template.source)) if self.plain else []
        special = [re.escape(text) for text in literals if not all(map(self._is_plain, _around(text)))]
        self._special = re.compile("|".join(special)) if special else None

    @cached_property
    def opening(self) -> str:
        """What the prompt writes of the answer's thinking, e.g. "<think>\\n" (DeepSeek-R1), else ""."""
        tail = re.search(r"(<think>\s*)(</think>\s*)?$", self.before[-64:] + self.after)
        if re.search(r"</think>\s*$", self.before[-64:] + self.after):
            raise SdgError(
                f"tokenizer {self.template.name}: its prompt ends the thinking before it begins (</think>), "
                "but solutions have their thinking. Set its option that turns thinking on, e.g. "
                'CHAT_TEMPLATE_OPTIONS = {"thinking": True} or {"enable_thinking": True}.'
            )
        return tail[1] if tail else ""

    def __call__(self, user_text: str) -> str:
        """The prompt for one user message, up to where the answer begins."""
        if not self.plain or (self._special is not None and self._special.search(user_text)):
            return self._by_template(user_text)
        return self._spliced(user_text)

    def _spliced(self, user_text: str) -> str:
        return self.before + (user_text.strip() if self._strip else user_text) + self.after

    def _by_template(self, user_text: str) -> str:
        return self.template.render([*self.head, {"role": "user", "content": user_text}])

    def _is_plain(self, text: str) -> bool:
        try:
            return self._by_template(text) == self._spliced(text)
        except SdgError:
            return False


_HOSTILE = (
    "",
    "0",
    " a",
    "a ",
    "\n\na\n",
    "a\r\n\n\n\tb",
    "{{ 1 + 1 }} {% raw %} {# #} {0} {a.__class__}",
    "\\ \\n \" ' <b>&amp;</b>",
    "é 数 🙂 \u2028\u00a0",
    "[1, 2]",
    "x" * 20000,
)


def _around(text: str) -> tuple[str, ...]:
    return text, f"x{text}", f"{text}x", f"x {text} x", f"x\n{text}\nx", text + text


def _literals(source: str) -> set[str]:
    """Every string literal in a template's code."""
    import jinja2

    found = {value for _, kind, value in jinja2.Environment().lex(source) if kind == "string"}
    return {value[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape") for value in found} - {""}


def _load(name: str) -> Any:
    path = CHATML if name == "chatml" else paths.resolve_path(name)
    # Said at import on every machine without torch, which tokenizers do not need.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(path) if path.is_dir() else name)
    except Exception as error:  # what it raises differs from version to version, and with what is wrong
        kind = "folder of a tokenizer" if path.is_dir() else "tokenizer (a hub name, or a folder that exists)"
        told = " ".join(str(error).split())[:300]
        raise SdgError(
            f"tokenizer {name!r}: expected a {kind}, found that it cannot be loaded ({told}). {_WAYS_OUT}"
        ) from error
