"""What a server's finish reason means, in the words of all servers."""

from __future__ import annotations

import re
from functools import lru_cache

# OpenAI, SGLang, vLLM and llama.cpp say stop; text-generation-inference eos_token and stop_sequence; Anthropic
# end_turn; Gemini STOP; Cohere COMPLETE; others eos, completed, finished.
_ENDED = frozenset(
    {
        "stop",
        "stop_sequence",
        "stop_token",
        "stop_string",
        "stopped",
        "eos",
        "eos_token",
        "eos_found",
        "end",
        "end_turn",
        "end_of_turn",
        "end_of_text",
        "endoftext",
        "im_end",
        "complete",
        "completed",
        "finish",
        "finished",
        "done",
        "normal",
    }
)
_UNSTATED = frozenset({"", "unknown", "none", "null", "nan", "unspecified", "finish_reason_unspecified"})


_CUT = frozenset({"length", "max_length", "max_tokens", "max_output_tokens", "model_length", "token_limit", "too_long"})


def ended_by_itself(finish_reason: str | None) -> bool | None:
    """Return True if the model stopped by itself, False if it was cut off, None if the row doesn't say."""
    reason = _folded(finish_reason)
    return None if reason in _UNSTATED else reason in _ENDED


def is_cut(finish_reason: str | None) -> bool:
    """Return whether a limit on tokens ended the text, so that a higher one may let the model finish."""
    return _folded(finish_reason) in _CUT


@lru_cache(maxsize=256)  # millions of rows have a handful of reasons
def _folded(finish_reason: str | None) -> str:
    reason = re.sub(r"[\s\-.]+", "_", str(finish_reason or "").strip().lower()).strip("<|>_")
    return reason if reason in _UNSTATED else reason.removeprefix("finish_reason_")
