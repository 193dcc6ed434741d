"""The settings of a model server: a profile's `servers:` section, one pydantic model per engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    TypeAdapter,
    field_validator,
    model_validator,
)

from sdg_helpers.batches.settings import BatchSection
from sdg_helpers.budgets.prices import Prices
from sdg_helpers.completions.request_bodies import RequestFit
from sdg_helpers.errors import did_you_mean

# SGLang options that the cookbook sets itself, and the key that decides each of them.
_RESERVED_OPTIONS = {
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
    "port": "none, a free port is chosen",
    "nnodes": "jobs: nodes",
    "node-rank": "none",
    "dist-init-addr": "none",
    "base-gpu-id": "num_servers",
    "enable-metrics": "none",
    "config": "none",
    "api-key": "none, every job generates its key",
    "admin-api-key": "none",
}


class _Spec(BaseModel):
    """What every engine has. Equal specs share a server where they can."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    default_deadline_s: ClassVar[float]
    engine: str
    model: str = Field(min_length=1)
    start_deadline_s: PositiveFloat | None = None  # seconds until the server must answer; default: by engine
    request: RequestFit = RequestFit()  # how requests differ from OpenAI's first API
    prices: Prices | None = None  # what its tokens cost, for budgets and plans

    def model_post_init(self, context: Any) -> None:
        """Keep the engine in dumps without defaults, except for "embedded", which `parse_server_spec` assumes."""
        if self.engine != "embedded":
            self.model_fields_set.add("engine")

    @property
    def deadline_s(self) -> float:
        """Seconds until the server must answer."""
        return self.start_deadline_s or self.default_deadline_s

    @property
    def served_model(self) -> str:
        """The model name that the server answers to."""
        return self.model

    @property
    def gpus(self) -> int:
        """GPUs of all copies of the model; 0 where they are not known."""
        return 0


class EmbeddedSpec(_Spec):
    """llama.cpp in a process on this machine. model: a name in weights.CATALOGUE."""

    default_deadline_s: ClassVar[float] = 300.0
    engine: Literal["embedded"] = "embedded"
    slots: PositiveInt = 4  # concurrent requests (2 per core serve best)
    context_length: PositiveInt = 2048  # tokens of prompt and reply together
    threads: PositiveInt | None = None  # default: one per usable core

    @property
    def served_model(self) -> str:
        """`model`, or the name of the file that SDG_GGUF substitutes for it."""
        from sdg_helpers.serving.embedded import weights

        override = weights.override()
        return override.stem if override else self.model


class Address(BaseModel):
    """One of several servers of a role that serve the same model."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    url: str  # https://host/v1
    weight: PositiveFloat = 1.0  # its share of the requests, beside the others' weights
    api_key_env: str | None = None  # default: that of the server

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        check_url(value)
        return value


def _as_addresses(value: Any) -> Any:
    """Accept one address as text, and a list of addresses of which some are text."""
    values = value if isinstance(value, list | tuple) else [value]
    return [{"url": one} if isinstance(one, str) else one for one in values if one is not None]


class EndpointSpec(_Spec):
    """OpenAI-compatible servers that someone else runs. model: a name that they serve."""

    default_deadline_s: ClassVar[float] = 10.0
    engine: Literal["endpoint"] = "endpoint"
    # https://host/v1, or a list of addresses; default: OPENAI_BASE_URL
    base_url: Annotated[tuple[Address, ...], BeforeValidator(_as_addresses)] = ()
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key
    api_key_header: str | None = None  # the header for the key; default: Authorization, as "Bearer KEY"
    batch: BatchSection | None = None  # submit requests through the provider's batch API

    @field_validator("base_url")
    @classmethod
    def _refuse_repeated(cls, value: tuple[Address, ...]) -> tuple[Address, ...]:
        if len({address.url.rstrip("/") for address in value}) < len(value):
            raise ValueError("an address is listed twice; remove one, or give the other one a larger weight")
        return value

    @model_validator(mode="after")
    def _refuse_batches_of_many(self) -> EndpointSpec:
        if self.batch and len(self.base_url) > 1:
            raise ValueError("batch: batches go to one address; keep one of base_url's")
        return self


class LocalCopies(BaseModel):
    """Copies of models on the own disk of each node."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: str = Field(min_length=1)  # on the node's disk
    max_gb: PositiveFloat  # gigabytes that the copies of all models may take


class SglangSpec(_Spec):
    """SGLang on the nodes of a job. model: a folder, or the name of a model on the hub."""

    default_deadline_s: ClassVar[float] = 3600.0
    engine: Literal["sglang"] = "sglang"
    served_model_name: str | None = None  # default: `model`
    tp_size: PositiveInt = 1  # GPUs that share one copy of the model
    num_servers: PositiveInt = 1  # copies of the model in a job, which share the requests
    load_format: str = "auto"  # sharded_state: `model` is a folder that stage 02 wrote for this tp_size
    local_copies: LocalCopies | None = None  # load the model from a copy on each node's own disk
    context_length: PositiveInt | None = None  # tokens of prompt and reply together; default: the model's
    reasoning_parser: str | None = None  # deepseek-r1, qwen3, …
    mem_fraction_static: float | None = Field(None, gt=0, lt=1)  # share of GPU memory for weights and cache
    dist_timeout_s: PositiveInt = 3600  # seconds without contact allowed between a server's nodes while loading
    extra_args: list[str] = []  # further words of SGLang's command line, one per item
    python: str | None = None  # interpreter of SGLang's environment; default: this one
    environment: dict[str, str] = {}  # environment variables for SGLang
    canary_question: str = "What is 7 + 8? Answer with the number."
    canary_expects: str = r"\b15\b"  # regular expression that the answer must match before the server is used
    check_every_s: PositiveFloat = 30.0  # interval of the health checks
    max_misses: PositiveInt = 5  # consecutive checks without a new token before a restart
    max_restarts: int = Field(3, ge=0)  # restarts before the job exits, so that Slurm requeues it elsewhere

    @property
    def served_model(self) -> str:
        """`served_model_name`, else `model`."""
        return self.served_model_name or self.model

    @property
    def gpus(self) -> int:
        """GPUs of all copies of the model, over all nodes of a job."""
        return self.tp_size * self.num_servers

    @field_validator("canary_expects")
    @classmethod
    def _check_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a valid regular expression: {value!r} ({error})") from None
        return value

    @model_validator(mode="after")
    def _refuse_copies_from_the_hub(self) -> SglangSpec:
        if self.local_copies and not self.model.startswith(("/", "~", ".")):
            raise ValueError("local_copies: only a model in a folder can be copied; download it first (stage 02)")
        return self

    @field_validator("extra_args")
    @classmethod
    def _refuse_reserved(cls, value: list[str]) -> list[str]:
        for word in value:
            name = word.lstrip("-").partition("=")[0]
            if word.startswith("--") and name in _RESERVED_OPTIONS:
                raise ValueError(f"{word} is set by the cookbook and not allowed here; key: {_RESERVED_OPTIONS[name]}")
        return value


ENGINES: dict[str, type[_Spec]] = {"embedded": EmbeddedSpec, "endpoint": EndpointSpec, "sglang": SglangSpec}


def _engine_of(settings: Any) -> str:
    return settings.get("engine", "embedded") if isinstance(settings, Mapping) else settings.engine


def _check_engine(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        engine = _engine_of(settings)
        if engine not in ENGINES:
            raise ValueError(
                f"unknown engine {engine!r}; choose from {', '.join(ENGINES)}.{did_you_mean(str(engine), ENGINES)}"
            )
    elif not isinstance(settings, _Spec):
        raise ValueError(f"expected keys such as engine and model, found {settings!r}")
    return settings


ServerSpec = Annotated[
    Annotated[EmbeddedSpec, Tag("embedded")]
    | Annotated[EndpointSpec, Tag("endpoint")]
    | Annotated[SglangSpec, Tag("sglang")],
    Discriminator(_engine_of),
    BeforeValidator(_check_engine),
]
_ADAPTER: TypeAdapter[ServerSpec] = TypeAdapter(ServerSpec, config=ConfigDict(hide_input_in_errors=True))


def parse_server_spec(settings: Mapping[str, Any]) -> ServerSpec:
    """Return the spec that these settings describe; `engine` defaults to "embedded". Raises ValidationError."""
    return _ADAPTER.validate_python(settings)


def check_url(url: str) -> None:
    """Raise ValueError unless this is an http(s) address without credentials."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url must be an address such as http://localhost:8000/v1, not {url!r}")
    if parts.username or parts.password:
        raise ValueError(
            "base_url must not contain a user name or password (not shown here). Put the key into an environment "
            "variable and name it with api_key_env"
        )
