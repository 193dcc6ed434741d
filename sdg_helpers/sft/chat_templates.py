"""A tokenizer's chat template: the text a model sees before it answers, and the token that ends its answer."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sdg_helpers import files, paths
from sdg_helpers.errors import SdgError
from sdg_helpers.paths import PACKAGE
from sdg_helpers.sft.chatml import ChatMLTokenizer
from sdg_helpers.sft.special_tokens import special_tokens

CHATML = PACKAGE / "data" / "chatml"
_MARK = "sdgMARK7c1e"
_WAYS_OUT = (
    'Give another tokenizer: a hub name such as "Qwen/Qwen2.5-32B-Instruct", a local folder, or "chatml", which ships '
    "with the cookbook and needs no network."
)


class ChatTemplate:
    """The chat template of a tokenizer.

    tokenizer: a hub name, a folder, or "chatml", a minimal one that ships with the cookbook. options: keyword
    arguments for the template, e.g. {"enable_thinking": True}.
    Raises SdgError when the tokenizer cannot be loaded or has no template.
    """

    def __init__(self, tokenizer: str | Path = "chatml", options: dict[str, Any] | None = None):
        self.name, self.options = str(tokenizer), dict(options or {})
        self.tokenizer = _load(self.name)
        try:
            self.source = str(self.tokenizer.get_chat_template())
        except ValueError:
            raise SdgError(f"tokenizer {self.name} has no chat template. {_WAYS_OUT}") from None

    @property
    def id(self) -> str:
        """16 hex digits that depend on the template and its options alone."""
        return files.content_id(self.source, files.dumps(self.options).decode())

    def render(self, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the conversation as one text, rendered by the template. Raises SdgError when the template fails."""
        try:
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, **self.options, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:  # a template is a program: it may raise anything
            roles = " → ".join(message["role"] for message in messages)
            raise SdgError(
                f"tokenizer {self.name}: its chat template rejects a conversation {roles} "
                f"({type(error).__name__}: {error}). Use a prompt without the part that it rejects, or "
                "another tokenizer."
            ) from error

    @cached_property
    def special(self) -> frozenset[str]:
        """The texts that the tokenizer reads as control tokens, without the thinking tags."""
        return special_tokens(self.tokenizer)

    @cached_property
    def tail(self) -> str:
        """What the template writes after an answer, e.g. `<|im_end|>\\n`. Found by rendering a short conversation."""
        conversation = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        _, mark, tail = self.render(conversation, add_generation_prompt=False).rpartition(_MARK)
        return tail if mark else ""

    @cached_property
    def end(self) -> str:
        """The end of a turn, as the model has to write it: the first special token of the tail, e.g. `<|im_end|>`.

        If the eos_token follows at once, it belongs to the end (Command R: `<|END_RESPONSE|><|END_OF_TURN_TOKEN|>`).
        What a template writes after that (a line break, the next turn) comes when the model has stopped.
        """
        eos = self.tokenizer.eos_token or ""
        tokens = "|".join(re.escape(token) for token in sorted(self.special, key=len, reverse=True))
        run = re.search(f"(?:{tokens})+", self.tail) if tokens else None
        if run is None:
            end = self.tail.strip() or eos
        elif eos and eos in run[0]:
            end = (self.tail[: run.start()] + run[0].partition(eos)[0] + eos).strip()
        else:
            first = re.match(tokens, run[0])
            end = (self.tail[: run.start()] + (first[0] if first else "")).strip()
        if not end:
            raise SdgError(
                f"tokenizer {self.name}: its chat template writes no end token after an answer, and there is no "
                f"eos_token. {_WAYS_OUT}"
            )
        return str(end)

    @cached_property
    def added_start(self) -> str:
        """The text of the token that the tokenizer puts before every text by itself (Llama 3, DeepSeek), else ""."""
        return self._added_token(0, self.tokenizer.bos_token)

    @cached_property
    def added_end(self) -> str:
        """The text of the token that the tokenizer appends to every text by itself, else ""."""
        return self._added_token(-1, self.tokenizer.eos_token)

    def _added_token(self, place: int, token: str | None) -> str:
        ids = self.tokenizer("?")["input_ids"]
        return token if token and ids and ids[place] == self.tokenizer.convert_tokens_to_ids(token) else ""

    def length(self, text: str) -> int:
        """Return the number of tokens in a text."""
        return len(self.tokenizer.encode(text, add_special_tokens=False))


class PromptRenderer:
    """Render prompts that differ only in their last user message, quickly and exactly as the template would.

    The texts before and after the user's message are found once and reused, so most prompts are a concatenation. That
    is correct only if the template inserts user texts unchanged, so it is checked first: with awkward texts, and with
    every string literal in the template's source, hence every string it could look for. A text that contains a literal
    that made a difference is rendered by the template itself; so is every text when the awkward ones already fail.
    """

    def __init__(self, template: ChatTemplate, head: Sequence[dict[str, str]] = ()):
        """head: the messages before the user's, e.g. a system message."""
        self.template, self.head = template, list(head)
        self.before, found, self.after = self._render_by_template(_MARK).partition(_MARK)
        self._strip = found and self._render_by_template(f" \n{_MARK}\n ") == self.before + _MARK + self.after
        self.plain = bool(found) and _MARK not in self.after and all(map(self._is_plain, _AWKWARD_TEXTS))
        literals = sorted(_literals(template.source)) if self.plain else []
        special = [re.escape(text) for text in literals if not all(map(self._is_plain, _in_contexts(text)))]
        self._special = re.compile("|".join(special)) if special else None

    @cached_property
    def opening(self) -> str:
        """The start of the thinking if the prompt already writes it, e.g. "<think>\\n" (DeepSeek-R1), else ""."""
        tail = re.search(r"<think>\s*$", self.before[-64:] + self.after)
        return tail[0] if tail else ""

    @cached_property
    def closes_thinking(self) -> bool:
        """Whether the prompt writes a whole thinking part, so that the model's text is the answer alone."""
        return re.search(r"</think>\s*$", self.before[-64:] + self.after) is not None

    def __call__(self, user_text: str) -> str:
        """Return the prompt for one user message, up to where the answer begins."""
        if not self.plain or (self._special is not None and self._special.search(user_text)):
            return self._render_by_template(user_text)
        return self._concatenate(user_text)

    def _concatenate(self, user_text: str) -> str:
        return self.before + (user_text.strip() if self._strip else user_text) + self.after

    def _render_by_template(self, user_text: str) -> str:
        return self.template.render([*self.head, {"role": "user", "content": user_text}])

    def _is_plain(self, text: str) -> bool:
        try:
            return self._render_by_template(text) == self._concatenate(text)
        except SdgError:
            return False


_AWKWARD_TEXTS = (
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


def _in_contexts(text: str) -> tuple[str, ...]:
    return text, f"x{text}", f"{text}x", f"x {text} x", f"x\n{text}\nx", text + text


def _literals(source: str) -> set[str]:
    """Return every string literal in a template's code."""
    import jinja2

    found = {value for _, kind, value in jinja2.Environment().lex(source) if kind == "string"}
    return {value[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape") for value in found} - {""}


def _load(name: str) -> Any:
    if name == "chatml":
        return ChatMLTokenizer(CHATML)
    path = paths.resolve_path(name)
    # Silences a warning on every machine without torch, which tokenizers don't need.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(path) if path.is_dir() else name)
    except Exception as error:  # the exception's type depends on the version and on the problem
        kind = "from this folder" if path.is_dir() else "from the hub, and there is no such folder"
        reason = " ".join(str(error).split())[:300]
        raise SdgError(f"tokenizer {name!r}: cannot load it {kind} ({reason}). {_WAYS_OUT}") from error
