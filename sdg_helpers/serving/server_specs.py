"""How to get a model server: the settings of a profile's `servers:` section, by engine."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

# Which settings an engine reads; any other is refused rather than passed over.
_READS = {
    "embedded": {"slots", "context_length", "threads"},
    "endpoint": {"base_url", "api_key_env"},
    "sglang": {
        "served_model_name",
        "tp_size",
        "num_servers",
        "load_format",
        "context_length",
        "reasoning_parser",
        "mem_fraction_static",
        "dist_timeout_s",
        "extra_args",
        "python",
        "environment",
        "canary_question",
        "canary_expects",
        "check_every_s",
        "max_misses",
        "max_restarts",
    },
}
_EVERY_ENGINE = {"engine", "model", "start_deadline_s"}
_START_S = {"embedded": 300.0, "endpoint": 10.0, "sglang": 3600.0}
# What is ours to say to SGLang, and the key that it follows from.
_OURS = {
    "model-path": "model",
    "model": "model",
    "served-model-name": "served_model_name",
    "tp-size": "tp_size",
    "tensor-parallel-size": "tp_size",
    "tp": "tp_size",
    "load-format": "load_format",
    "host": "num_servers",
    "context-length": "context_length",
    "reasoning-parser": "reasoning_parser",
    "dist-timeout": "dist_timeout_s",
    "mem-fraction-static": "mem_fraction_static",
    "port": "no key: a free one is taken",
    "nnodes": "jobs: nodes",
    "node-rank": "no key",
    "dist-init-addr": "no key",
    "base-gpu-id": "num_servers",
    "enable-metrics": "no key",
    "config": "no key",
    "api-key": "no key: every job has one of its own",
    "admin-api-key": "no key",
}


class ServerSpec(BaseModel):
    """One role's server: a profile's `servers: {solver: {...}}`. Equal specs share a server where they can."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    engine: Literal["embedded", "endpoint", "sglang"] = "embedded"
    model: str = Field(min_length=1)  # embedded: a name of weights.CATALOGUE; endpoint: a name it serves
    start_deadline_s: PositiveFloat | None = None  # until it answers; 300 embedded, 10 endpoint, 3600 sglang
    slots: PositiveInt = 4  # embedded: requests answered at the same time (2 a core serve best)
    context_length: PositiveInt = 2048  # tokens, prompt and answer together; sglang, not given: the model's own
    threads: PositiveInt | None = None  # embedded: default one a usable core
    base_url: str | None = None  # endpoint: https://host/v1; default: OPENAI_BASE_URL
    api_key_env: str = "OPENAI_API_KEY"  # endpoint: the environment variable that holds the key
    # sglang; its `model` is a folder, or a name of the hub
    served_model_name: str | None = None  # default: `model`
    tp_size: PositiveInt = 1  # GPUs that share one copy of the model
    num_servers: PositiveInt = 1  # copies of the model in a job, behind one address
    load_format: str = "auto"  # sharded_state: `model` is a folder that stage 02 made for this tp_size
    reasoning_parser: str | None = None  # deepseek-r1, qwen3, …
    mem_fraction_static: float | None = Field(None, gt=0, lt=1)  # of the GPU's memory for weights and cache
    dist_timeout_s: PositiveInt = 3600  # nodes of one server may be silent so long while they load
    extra_args: list[str] = []  # one word each, as on SGLang's command line
    python: str | None = None  # of the environment that SGLang lives in; default: our own
    environment: dict[str, str] = {}  # variables for SGLang
    canary_question: str = "What is 7 + 8? Answer with the number."
    canary_expects: str = r"\b15\b"  # regular expression; a start whose answer lacks it does not count
    check_every_s: PositiveFloat = 30.0  # whether it still makes tokens
    max_misses: PositiveInt = 5  # checks in a row without a token before it is started anew
    max_restarts: int = Field(3, ge=0)  # then the job ends, for Slurm to start it elsewhere

    @field_validator("canary_expects")
    @classmethod
    def _expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"expected a regular expression, found {value!r} ({error})") from None
        return value

    @field_validator("extra_args")
    @classmethod
    def _not_ours(cls, value: list[str]) -> list[str]:
        for word in value:
            name = word.lstrip("-").partition("=")[0]
            if word.startswith("--") and name in _OURS:
                raise ValueError(f"{word}: this option is ours to set; the key for it: {_OURS[name]}")
        return value

    @model_validator(mode="after")
    def _check(self) -> ServerSpec:
        foreign = self.model_fields_set - _EVERY_ENGINE - _READS[self.engine]
        if foreign:
            raise ValueError(
                f"{', '.join(sorted(foreign))}: the engine {self.engine!r} does not read this; it reads "
                f"{', '.join(sorted(_READS[self.engine] | {'start_deadline_s'}))}"
            )
        if self.base_url is not None:
            check_url(self.base_url)
        return self

    @property
    def served_model(self) -> str:
        """The name of the weights that will answer: `model`, or what stands in its place (a server's own name for it,
        the file that SDG_GGUF gives)."""
        if self.engine == "embedded":
            from sdg_helpers.serving.embedded import weights

            own = weights.override()
            return own.stem if own else self.model
        return self.served_model_name or self.model

    @property
    def deadline_s(self) -> float:
        """Seconds until it must answer."""
        return self.start_deadline_s or _START_S[self.engine]


def check_url(url: str) -> None:
    """Raise ValueError unless this is an http address without a secret in it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url: expected an address such as http://localhost:8000/v1, found {url!r}")
    if parts.username or parts.password:
        raise ValueError(
            "base_url: expected an address without a user name or password in it, found one (not shown). "
            "Put the key into an environment variable and name it with api_key_env"
        )
