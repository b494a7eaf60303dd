"""Everything that can be set about the service, read once at start and frozen.

Each field is an environment variable: ``OPAL_`` and the field's name in capitals. Options of
``python -m service`` win over the environment.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from index.bundles.signing import KEY_VARIABLE, parse_keys
from model.errors import InputError

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrOff = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# All workers follow within a second: a look and what it finds have to fit in.
TakedownSeconds = Annotated[float, Field(gt=0, le=0.5)]


class Settings(BaseSettings):
    """Settings of the service; every one has a description and, but for the registry, a default."""

    model_config = SettingsConfigDict(env_prefix="OPAL_", frozen=True, extra="forbid")

    registry: Path = Field(description="Folder of the bundle registry; the service follows CURRENT")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all")
    port: Port = Field(default=8000, description="Port to listen on; 0 takes a free one")
    workers: Count = Field(default=1, description="Worker processes that share the port")
    threads: Count = Field(
        default=1,
        description="Threads per worker of BLAS and of one Faiss search; more than 1 rarely pays",
    )
    wait_for_bundle: bool = Field(
        default=False,
        description="Start without a live bundle and answer 503 until one is published",
    )
    reload_interval: Seconds = Field(
        default=0.5,
        description="Seconds between two looks at CURRENT in each worker, a quarter more or less",
    )

    takedown_interval: TakedownSeconds = Field(
        default=0.25,
        description="Seconds between two looks at the takedowns in each worker, at most 0.5",
    )
    max_takedowns: Count = Field(
        default=100_000, description="Most items that can be taken down at once"
    )

    max_body_bytes: Count = Field(default=1 << 20, description="Largest request body, in bytes")
    max_interactions: Count = Field(
        default=1000,
        description="Most interactions in one history; the encoder uses the last few of them",
    )
    max_exclude: Count = Field(default=10_000, description="Most ids in `exclude`")
    max_batch: Count = Field(default=256, description="Most requests in one POST /match/batch")
    micro_batch: Count = Field(
        default=32, description="Most requests that a worker encodes and searches together"
    )
    micro_batch_wait_ms: float = Field(
        default=0.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Milliseconds that a request waits for others while the worker is idle. What "
        "arrives during a computation goes together anyway",
    )
    max_pending: Count = Field(
        default=128, description="Computations waiting or running in a worker before it answers 503"
    )

    cache_ttl: SecondsOrOff = Field(
        default=300.0, description="Seconds that a cached answer is served; 0 turns the cache off"
    )
    cache_memory_mb: CountOrNone = Field(
        default=64,
        description="Memory of a worker's own cache, before Redis where there is one, in MiB; 0 "
        "for none",
    )
    cache_lock_ms: CountOrNone = Field(
        default=50,
        description="Milliseconds, at most, that a worker waits for an answer that another one "
        "computes, with Redis; 0: it computes it too",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis for cache and takedowns, redis://host:6379/0; without it: in process, "
        "and in the registry",
    )
    redis_timeout_ms: Count = Field(
        default=50, description="Milliseconds after which a call to Redis counts as failed"
    )
    breaker_failures: Count = Field(
        default=3, description="Failures of Redis in a row after which it is left alone for a while"
    )
    breaker_seconds: Seconds = Field(
        default=1.0, description="Seconds that Redis is left alone before one call tries it again"
    )

    keep_alive: Count = Field(
        default=75,
        description="Seconds that an idle connection is kept; more than the callers' own limit",
    )
    admin_token: SecretStr | None = Field(
        default=None, description="Bearer token that /admin asks for; without it /admin is open"
    )
    # Workers read it again, from their environment, where manifests are read
    # (index.bundles.signing); here it is checked at start and listed with the others.
    signing_key: SecretStr | None = Field(
        default=None,
        description="Key, or several separated by commas; bundles must be signed with one of them. "
        "Without it signatures are ignored",
    )
    drain_seconds: SecondsOrOff = Field(
        default=1.0,
        description="Seconds after SIGTERM in which /readyz says 503 while requests are served",
    )
    shutdown_timeout: Count = Field(
        default=30, description="Seconds that requests in flight get to finish at shutdown"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log lines that are written"
    )
    access_log: bool = Field(default=False, description="Write one log line for every request")

    @field_validator("admin_token")
    @classmethod
    def _check_admin_token(cls, token: SecretStr | None) -> SecretStr | None:
        text = "" if token is None else token.get_secret_value()
        if token is not None and not (text.isascii() and text.isprintable() and text.strip()):
            raise ValueError("is empty, or holds what no header can; unset it to leave /admin open")
        if text != text.strip():
            raise ValueError("begins or ends with a blank, which no caller's header would keep")
        return token

    @field_validator("signing_key")
    @classmethod
    def _check_signing_key(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            try:
                parse_keys(keys.get_secret_value())
            except InputError as error:
                raise ValueError(str(error).removeprefix(f"{KEY_VARIABLE}: ")) from None
        return keys

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, url: SecretStr | None) -> SecretStr | None:
        schemes = ("redis://", "rediss://", "unix://")
        if url is not None and not url.get_secret_value().startswith(schemes):
            raise ValueError(f"must begin with {', '.join(schemes)}")
        return url


def read_settings(**options: Any) -> Settings:
    """Read the settings: options given, then the environment, then defaults.

    Args:
        **options: Fields that were set on the command line; ``None`` means not set.

    Raises:
        InputError: A value cannot be used; names each variable and what is wrong, on one line.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        raise InputError("; ".join(_describe(problem) for problem in error.errors())) from None


def _describe(problem: ErrorDetails) -> str:
    """Name the variable, what is wrong, and the value unless it is secret or missing."""
    name = str(problem["loc"][0])
    is_secret = "Secret" in str(Settings.model_fields[name].annotation)
    got = "" if is_secret or problem["type"] == "missing" else f" (got {problem['input']!r})"
    return f"OPAL_{name.upper()}: {problem['msg'].removeprefix('Value error, ')}{got}"
