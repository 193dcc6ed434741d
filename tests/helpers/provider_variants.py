"""The variants of providers.py: what servers really do, in groups."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from tests.helpers.providers import (
    KEY,
    VARIANTS,
    Asked,
    completion,
    error,
    events,
    listed,
    pieces,
    streamed,
    variant,
)

# --- requests that must be fitted


@variant(ends="'max_tokens' is not supported.*`request: {rename: {max_tokens: max_completion_tokens}}`")
def max_tokens_renamed(asked: Asked):
    if "max_tokens" in asked.body:
        return error(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            param="max_tokens",
        )
    return completion(asked.inline)


@variant(ends="'max_tokens'.*`request: {rename: {max_tokens: max_output_tokens}}`")
def max_tokens_meant(asked: Asked):
    if "max_tokens" in asked.body:
        return error(400, "Unknown parameter: 'max_tokens'. Did you mean 'max_output_tokens'?")
    return completion(asked.inline)


@variant(ends=r"does not support 0.6.*`request: {omit: \[temperature\]}`")
def only_default_temperature(asked: Asked):
    if asked.body.get("temperature", 1) != 1:
        return error(400, "Unsupported value: 'temperature' does not support 0.6 with this model.")
    return completion(asked.inline)


@variant(ends=r"cannot both be specified.*`request: {omit: \[top_p\]}`")
def temperature_or_top_p(asked: Asked):
    if {"temperature", "top_p"} <= asked.body.keys():
        return error(400, "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    return completion(asked.inline)


@variant(ends=r"body.seed: Extra inputs are not permitted.*`request: {omit: \[seed\]}`")
def no_seed(asked: Asked):
    if "seed" in asked.body:
        detail = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
        return web.json_response({"detail": detail}, status=422)
    return completion(asked.inline)


@variant(ends="enable_thinking.*chat_template_kwargs: {enable_thinking: true}")
def thinking_off_by_default(asked: Asked):
    if not asked.body.get("chat_template_kwargs", {}).get("enable_thinking"):
        return error(400, "thinking must be enabled: chat_template_kwargs.enable_thinking")
    return completion(asked.inline)


@variant(ends="at most 8192 completion tokens.*Lower MAX_TOKENS to at most 8192")
def fewer_tokens(asked: Asked):
    if asked.body["max_tokens"] > 8192:
        return error(400, "max_tokens is too large: 32768. This model supports at most 8192 completion tokens.")
    return completion(asked.inline)


@variant(ends="azure/v1/chat/completions does not exist.*api-version", models=lambda request: error(404, "Not found"))
def azure(asked: Asked):
    if "api-version" not in asked.request.query:
        return error(404, "Resource not found")
    return completion(asked.inline)


@variant(ends="invalid subscription key.*`api_key_header: api-key`", models=lambda request: error(401, "denied"))
def api_key_header(asked: Asked):
    if asked.request.headers.get("api-key") != KEY or "Authorization" in asked.request.headers:
        return error(401, "Access denied due to invalid subscription key or wrong API endpoint.")
    return completion(asked.inline)


FITTED = {  # a variant that refuses the plain request -> the settings with which it works
    "max_tokens_renamed": {"request": {"rename": {"max_tokens": "max_completion_tokens"}}},
    "only_default_temperature": {"request": {"omit": ["temperature"]}},
    "temperature_or_top_p": {"request": {"omit": ["top_p"]}},
    "no_seed": {"request": {"omit": ["seed"]}},
    "thinking_off_by_default": {"request": {"extra_body": {"chat_template_kwargs": {"enable_thinking": True}}}},
    "azure": {"request": {"query": {"api-version": "2024-10-21"}}},
    "api_key_header": {"api_key_header": "api-key"},
}

# --- streams


@variant()
def only_streams(asked: Asked):
    if not asked.body.get("stream"):
        return error(400, "This model only support stream mode, please enable the stream parameter.")
    return streamed(events(*({"reasoning_content": one} for one in pieces(asked.thinking)), {"content": asked.text}))


@variant()
def stream_unasked(asked: Asked):
    return streamed(events({"content": asked.inline}, finish=None, usage=False))


@variant()
def stream_as_text(asked: Asked):
    return streamed(events(*({"content": one} for one in pieces(asked.inline))), "text/plain")


@variant()
def stream_with_carriage_returns_and_comments(asked: Asked):
    text = events(": OPENROUTER PROCESSING", *({"content": one} for one in pieces(asked.inline)))
    return streamed(text.replace("\n", "\r\n"))


@variant()
def stream_in_thinking_parts(asked: Asked):
    thought = [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": asked.thinking}]}]}]
    return streamed(events(*thought, {"content": asked.text}))


@variant()
def no_stream_options(asked: Asked):
    if "stream_options" in asked.body:
        detail = [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]
        return web.json_response({"detail": detail}, status=422)
    return streamed(events({"content": asked.inline}, usage=False))


@variant()
def no_streams(asked: Asked):
    if "stream" in asked.body:
        return error(400, "Streaming is not supported by this deployment")
    return completion(asked.inline)


@variant()
def stream_ends_early_once(asked: Asked):
    if asked.again == 1:
        return streamed(events({"content": asked.inline[:40]}, finish=None, usage=False, end=""))
    return streamed(events({"content": asked.inline}))


@variant()
def stream_without_closing_event(asked: Asked):
    return streamed(events({"content": asked.inline}, end=""))


@variant()
def stream_with_an_error_once(asked: Asked):
    if asked.again > 1:
        return streamed(events({"content": asked.inline}))
    failed = 'data: {"error": {"code": 502, "message": "Network connection lost"}}'
    return streamed(events({"content": asked.inline[:40]}, failed, finish=None, usage=False))


@variant()
async def silent_connections_are_cut(asked: Asked):
    """A proxy that closes whatever says nothing for a second, before a server that writes for three."""
    if not asked.body.get("stream"):
        await asyncio.sleep(1.0)
        return web.Response(status=504, text="<html><title>504 Gateway Time-out</title></html>")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(asked.request)
    for event in events(*({"content": one} for one in pieces(asked.inline, 60))).split("\n\n"):
        await response.write(f"{event}\n\n".encode())
        await asyncio.sleep(0.2)
    return response


@variant(ends="something between us and the server cuts requests after 1 s")
async def gateway_timeout(asked: Asked):
    await asyncio.sleep(1.2)
    return web.Response(status=524, text="error code: 524")


@variant(ends="something between us and the server cuts requests after 1 s")
async def connection_reset(asked: Asked):
    await asyncio.sleep(1.2)
    if asked.request.transport is not None:
        asked.request.transport.abort()
    return web.Response()


# --- a 200 that is no success


@variant(ends="10 × empty: no text")
def always_empty(asked: Asked):
    return completion("")


@variant()
def empty_once(asked: Asked):
    return completion("" if asked.again == 1 else asked.inline)


@variant(ends="10 × no_answer: thinking without an answer")
def thinking_only(asked: Asked):
    return completion(None, reasoning_content=asked.thinking)


@variant(ends="10 × empty: .*raise MAX_TOKENS")
def hidden_thinking_used_all_tokens(asked: Asked):
    return completion("", finish="length")


@variant(ends="10 of 10 solutions are unfinished")
def cut_in_the_thinking(asked: Asked):
    return completion(None, reasoning_content=asked.thinking, finish="length")


@variant(ends=r"10 of 10 solutions are unfinished .*'SAFETY': 10.*The server ended them, and not for their length")
def filtered_in_the_middle(asked: Asked):
    return completion(asked.inline[:40], finish="SAFETY")


@variant(ends="10 × refused: the model refused to answer: \"I can't help with that")
def refused(asked: Asked):
    return completion(None, refusal="I can't help with that")


@variant(ends="10 × refused: the model refused to answer: \"I can't help with that")
def refused_in_a_stream(asked: Asked):
    return streamed(events({"refusal": "I can't help "}, {"refusal": "with that"}))


@variant()
def byte_order_mark(asked: Asked):
    return web.Response(body=b"\xef\xbb\xbf" + bytes(completion(asked.inline).body), content_type="application/json")


@variant(ends="10 × content_filter")
def filtered(asked: Asked):
    return completion("", finish="content_filter")


@variant()
def error_in_choice_once(asked: Asked):
    if asked.again > 1:
        return completion(asked.inline)
    choice = {"finish_reason": None, "error": {"code": 502, "message": "lost"}, "message": {"content": "<think>"}}
    return web.json_response({"choices": [choice]})


@variant()
def finish_error_once(asked: Asked):
    return completion(asked.inline[:30], finish="error") if asked.again == 1 else completion(asked.inline)


@variant()
def rate_limit_in_200(asked: Asked):
    if asked.again > 2:
        return completion(asked.inline)
    metadata = {"raw": "rate-limited upstream, retry shortly"}
    return web.json_response({"error": {"message": "Provider returned error", "code": 429, "metadata": metadata}})


@variant(ends="10 × web_page: a web page instead of a completion.*Login required")
def web_page(asked: Asked):
    return web.Response(text="<html><body>Login required</body></html>", content_type="text/html")


@variant()
def web_page_once(asked: Asked):
    if asked.again == 1:
        return web.Response(text="<!DOCTYPE html><html>502</html>", content_type="text/html")
    return completion(asked.inline)


# --- thinking

for name, reply in {
    "reasoning": lambda asked: completion(asked.text, reasoning=asked.thinking),
    "reasoning_content": lambda asked: completion(asked.text, reasoning_content=asked.thinking),
    "both_reasoning_fields": lambda asked: completion(
        asked.text, reasoning=asked.thinking, reasoning_content=asked.thinking
    ),
    "reasoning_details": lambda asked: completion(
        asked.text, reasoning_details=[{"type": "reasoning.text", "text": asked.thinking}]
    ),
    "thinking_parts": lambda asked: completion(
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": asked.thinking}]},
            {"type": "text", "text": asked.text},
        ]
    ),
    "thinking_sent_twice": lambda asked: completion(asked.inline, reasoning_content=asked.thinking),
    "without_opening_tag": lambda asked: completion(asked.inline.removeprefix("<think>\n")),
    "empty_pair_first": lambda asked: completion("<think>\n\n</think>\n\n" + asked.inline),
    "tags_of_gemini": lambda asked: completion(f"<thought>\n{asked.thinking}\n</thought>{asked.text}"),
    "tags_of_magistral": lambda asked: completion(f"[THINK]{asked.thinking}[/THINK]{asked.text}"),
    "tags_in_upper_case": lambda asked: completion(f"<THINK>\n{asked.thinking}\n</THINK>\n\n{asked.text}"),
    "channels_of_gpt_oss": lambda asked: completion(
        f"<|channel|>analysis<|message|>{asked.thinking}<|end|><|start|>assistant<|channel|>final<|message|>{asked.text}"
    ),
    "finish_eos": lambda asked: completion(asked.inline, finish="eos"),
    "finish_upper_case": lambda asked: completion(asked.inline, finish="STOP"),
    "no_finish_reason": lambda asked: completion(asked.inline, finish=None),
    "no_usage": lambda asked: completion(asked.inline, usage=False),
}.items():
    variant(name=name)(reply)


@variant(ends="10 × unclear_thinking: more than one thinking part")
def two_thinking_parts(asked: Asked):
    return completion(f"{asked.inline} <think>again</think> {asked.text}")


# --- the list of models, and passing trouble

for name, models in {
    "models_empty": listed(),
    "models_bare": lambda request: web.json_response([{"id": "m"}]),
    "models_prefixed": listed("models/m", "models/n"),
    "models_dated": listed("m-2025-01-01", "n"),
    "models_wildcard": listed("*"),
    "models_by_name": listed("m", key="models"),
    "models_403": lambda request: error(403, "Missing scopes: api.model.read"),
    "models_401": lambda request: error(401, "not for you"),
    "models_404": lambda request: error(404, "Not Found"),
    "models_page": lambda request: web.Response(text="<html>portal</html>", content_type="text/html"),
}.items():
    variant(name=name, models=models)(lambda asked: completion(asked.inline))


@variant(ends="does not serve the model 'm', only n.*The model `m` does not exist", models=listed("n"))
def unknown_model(asked: Asked):
    return error(404, "The model `m` does not exist.")


@variant()
def one_404(asked: Asked):
    return error(404, "The model `m` does not exist.") if asked.number == 5 else completion(asked.inline)


@variant(ends="1 × http_403: HTTP 403: Your input was flagged")
def one_403(asked: Asked):
    return error(403, "Your input was flagged by moderation") if asked.number == 5 else completion(asked.inline)


@variant(ends=r"denies access \(HTTP 401: Incorrect API key provided: \*\*\*")
def wrong_key(asked: Asked):
    return error(401, f"Incorrect API key provided: {KEY[:11]}****{KEY[-8:]}. See https://example/keys")


@variant(ends=r"HTTP 400: the request with \*\*\* failed")
def key_in_the_message(asked: Asked):
    return error(400, f"the request with {KEY} failed")


@variant(ends="denies access.*credit balance is too low")
def no_credit(asked: Asked):
    return error(400, "Your credit balance is too low to access the API.")


@variant()
def wait_in_the_body(asked: Asked):
    if asked.again > 1:
        return completion(asked.inline)
    wait = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.2s"}]
    return web.json_response([{"error": {"code": 429, "message": "exhausted", "details": wait}}], status=429)


@variant()
def wait_in_other_headers(asked: Asked):
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "200ms"}
    return error(429, "slow down", headers) if asked.again == 1 else completion(asked.inline)


@variant(ends="asks to wait for 8h00m.*free-models-per-day")
def daily_limit(asked: Asked):
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int((time.time() + 8 * 3600) * 1000))}
    return error(429, "Rate limit exceeded: free-models-per-day", headers)


@variant()
def blank_lines_while_waiting(asked: Asked):
    reply = completion(asked.inline)
    reply.body = b"\n\n\n" + reply.body
    return reply


# --- the shipped profiles: what each provider refuses


def refuse(asked: Asked, *fields: str) -> web.Response | None:
    if named := [one for one in fields if one in asked.body]:
        return error(400, f"Unsupported parameter: {named[0]!r} is not supported")
    return None


@variant(name="openai", thinks=False, models=listed("gpt-5.1", "m"))
def openai_reasoning(asked: Asked):
    return refuse(asked, "max_tokens", "temperature", "top_p") or completion(asked.text)


@variant(thinks=False)
def anthropic(asked: Asked):
    if asked.body.get("thinking") and ({"temperature", "top_p"} & asked.body.keys()):
        return error(400, "`temperature` may only be set to 1 when thinking is enabled.")
    return completion(asked.text)


@variant(models=listed("models/m"))
def gemini(asked: Asked):
    if "seed" in asked.body:
        return error(400, 'Invalid JSON payload received. Unknown name "seed": Cannot find field.')
    return completion(f"<thought>\n{asked.thinking}\n</thought>{asked.text}")


@variant(name="azure-openai", thinks=False, models=lambda request: error(404, "Resource not found"))
def azure_deployment(asked: Asked):
    if "api-version" not in asked.request.query or asked.request.headers.get("api-key") != KEY:
        return error(404, "Resource not found")
    return refuse(asked, "max_tokens", "temperature", "top_p") or completion(asked.text)


@variant()
def openrouter(asked: Asked):
    return streamed(events(": OPENROUTER PROCESSING", {"reasoning": asked.thinking}, {"content": asked.text}))


@variant()
def deepseek(asked: Asked):
    return streamed(events(": keep-alive", {"reasoning_content": asked.thinking}, {"content": asked.text}))


@variant()
def mistral(asked: Asked):
    for name in ("seed", "stream_options"):
        if name in asked.body:
            detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]
            return web.json_response({"detail": detail}, status=422)
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": asked.thinking}]}
    return streamed(events({"content": [thinking]}, {"content": [{"type": "text", "text": asked.text}]}, usage=False))


for name in ("vllm", "sglang-endpoint", "ollama", "lmstudio"):
    variant(name=name)(lambda asked: streamed(events({"reasoning_content": asked.thinking}, {"content": asked.text})))

PROFILES = (
    "openai",
    "anthropic",
    "gemini",
    "azure-openai",
    "openrouter",
    "deepseek",
    "mistral",
    "vllm",
    "sglang-endpoint",
    "ollama",
    "lmstudio",
)
for name, settings in FITTED.items():
    original = VARIANTS[name]
    variant(name=f"{name}_fitted", settings=settings, models=original.models)(original.reply)
