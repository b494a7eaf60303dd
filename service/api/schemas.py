"""What a caller sends: every field with its meaning, limits and an example.

Ids are strings or integers and become strings. Unknown fields are refused, and so are values of
another type (no "10" for 10, no true for 1): a mistake is told, not guessed at.
"""

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from service.settings import Settings

MAX_TOP_K = 1000
MAX_ID_LENGTH = 256
MAX_REASON_LENGTH = 500
MOST_TIMEOUT_MS = 3_600_000


@dataclass(frozen=True)
class Limits:
    """Limits that are settings; given to validation as its context.

    Attributes:
        interactions: Most interactions in one history.
        exclude: Most ids in ``exclude``.
        batch: Most requests in one batch.
    """

    interactions: int
    exclude: int
    batch: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Take the limits out of the settings."""
        return cls(settings.max_interactions, settings.max_exclude, settings.max_batch)


def _as_id(value: Any) -> Any:
    """Accept strings and integers; a bool is no integer here."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("id_type", "must be a string or an integer")
    return str(value)


def _as_timestamp(value: Any) -> Any:
    """Check a time, which the encoder does not use: order tells it all it needs."""
    if isinstance(value, str):
        with suppress(ValueError):
            datetime.fromisoformat(value)
            return value
    elif not isinstance(value, bool) and isinstance(value, int | float):
        # An integer of hundreds of digits is JSON, but no number that a float holds.
        with suppress(OverflowError):
            if math.isfinite(value):
                return value
    raise PydanticCustomError("timestamp", "must be seconds since 1970 or an ISO 8601 time")


def _as_interaction(value: Any) -> Any:
    """Accept an item id alone in place of an interaction."""
    return value if isinstance(value, dict | Interaction) else {"item_id": value}


Id = Annotated[
    str,
    BeforeValidator(_as_id, json_schema_input_type=str | int),
    Field(min_length=1, max_length=MAX_ID_LENGTH),
]
Timestamp = Annotated[
    float | str, PlainValidator(_as_timestamp, json_schema_input_type=float | str)
]


Aggregation = Literal["max", "quota"]


class Body(BaseModel):
    """Base of all bodies: strict types, no unknown fields, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class Interaction(Body):
    """One item that the user interacted with."""

    item_id: Id = Field(description="The item", examples=["50"])
    timestamp: Timestamp | None = Field(
        None,
        description="When: seconds since 1970 or ISO 8601. Checked, not used: the order of the "
        "list is what counts",
        examples=[881250949, "1997-12-04T15:55:49Z"],
    )


ItemOrInteraction = Annotated[
    Interaction,
    BeforeValidator(_as_interaction, json_schema_input_type=str | int | Interaction),
]


# What nearly all requests hold, checked without a call of Python for each element. Anything else,
# and all that is wrong, is left to the types above, which word it.
_MOST_PLAIN = 10**18
_PlainId = (
    Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
    | Annotated[int, Field(ge=-_MOST_PLAIN, le=_MOST_PLAIN)]
)


class _PlainInteraction(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc] # pydantic's way
    item_id: _PlainId
    timestamp: NotRequired[Annotated[float, Field(allow_inf_nan=False)] | None]


_strictly = ConfigDict(strict=True)
_plain_ids = TypeAdapter(list[_PlainId], config=_strictly)
_plain_interactions = TypeAdapter(list[_PlainId | _PlainInteraction], config=_strictly)


def _quickly(plain: TypeAdapter[Any]) -> WrapValidator:
    def validate(value: Any, one_by_one: ValidatorFunctionWrapHandler) -> Any:
        try:
            return plain.validate_python(value)
        except ValidationError:
            return one_by_one(value)

    return WrapValidator(validate)


Ids = Annotated[list[Id], _quickly(_plain_ids)]
Interactions = Annotated[list[ItemOrInteraction], _quickly(_plain_interactions)]


class CategoryFilter(Body):
    """Which categories candidates may come from."""

    allow: list[str] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Only items of at least one of these; leave it out to allow all",
        examples=[["Comedy", "Drama"]],
    )
    deny: list[str] = Field(
        default_factory=list,
        max_length=1000,
        description="No items of any of these; wins over `allow`",
        examples=[["Horror"]],
    )


class HistoryRequest(Body):
    """A user's history."""

    user_id: Id | None = Field(
        None,
        description="Your name of the user. Not needed: the history alone determines the answer",
        examples=["u-1"],
    )
    interactions: Interactions = Field(
        default_factory=list,
        description="What the user interacted with, oldest first: item ids, or objects with a "
        "timestamp. Unknown items are left out and counted. May be empty",
        examples=[["50", "172", {"item_id": "181", "timestamp": 881250949}]],
    )

    @field_validator("interactions", mode="before")
    @classmethod
    def _limit_interactions(cls, value: Any, info: ValidationInfo) -> Any:
        return _at_most(value, info, "interactions")

    @property
    def item_ids(self) -> list[str]:
        """The history as item ids, oldest first."""
        elements: list[Any] = self.interactions  # plain ones are as they came
        # Most are ids, and a call takes longer than all else here.
        return [each if type(each) is str else _id_of(each) for each in elements]


class MatchRequest(HistoryRequest):
    """A user's history and what the candidates have to fulfil."""

    top_k: int = Field(
        100, ge=1, le=MAX_TOP_K, description="How many candidates", examples=[10, 100]
    )
    exclude_seen: bool = Field(True, description="Leave out the items of the history")
    exclude: Ids = Field(
        default_factory=list,
        description="More items to leave out; unknown ones do no harm",
        examples=[["1", "7"]],
    )
    categories: CategoryFilter | None = Field(
        None,
        description="Restricts candidates by category",
        examples=[{"allow": ["Comedy", "Drama"], "deny": ["Horror"]}],
    )
    diversity: float = Field(
        0.0,
        ge=0,
        le=1,
        description="0: best score first. Towards 1: candidates that differ from those before them",
        examples=[0.3],
    )
    aggregation: Aggregation = Field(
        "max",
        description="`max`: an item counts with its best interest, and the best items win, whoever "
        "found them. `quota`: each interest gets a share of the candidates in proportion to its "
        "weight, an item counting for one of them; with `diversity` too the shares are kept",
        examples=["max"],
    )
    explain: bool = Field(
        False, description="Name for each candidate the items of the history that speak for it"
    )

    @field_validator("exclude", mode="before")
    @classmethod
    def _limit_exclude(cls, value: Any, info: ValidationInfo) -> Any:
        return _at_most(value, info, "exclude")

    @property
    def excluded_ids(self) -> list[str]:
        """The items to leave out, each once, sorted."""
        return sorted({_id_of(each) for each in self.exclude})


class BatchRequest(Body):
    """Many users in one call. Each request is checked by itself: one bad one spoils no other."""

    requests: list[SkipValidation[MatchRequest]] = Field(description="Match requests", min_length=1)

    @field_validator("requests", mode="before")
    @classmethod
    def _limit_requests(cls, value: Any, info: ValidationInfo) -> Any:
        return _at_most(value, info, "batch")


class ReloadRequest(Body):
    """Which bundle to go to."""

    version: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_ID_LENGTH,
        description="Version to make CURRENT; without it: look at CURRENT now",
        examples=["20261123T224501Z-1a2b3c4d"],
    )


class TakedownRequest(Body):
    """Why an item is taken down."""

    reason: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_REASON_LENGTH,
        description="For whoever reads the list; not needed",
        examples=["DMCA 2026-118"],
    )


def _id_of(each: Any) -> str:
    """Return the id of an element of ``Ids`` or ``Interactions``."""
    if isinstance(each, Interaction):
        return each.item_id
    return str(each["item_id"] if isinstance(each, dict) else each)


def _at_most(value: Any, info: ValidationInfo, limit: str) -> Any:
    """Refuse a list longer than the setting before its elements are looked at."""
    limits = info.context
    if isinstance(limits, Limits) and isinstance(value, list):
        most: int = getattr(limits, limit)
        if len(value) > most:
            raise PydanticCustomError(
                "too_long",
                "has {length} elements, at most {most} are allowed",
                {"length": len(value), "most": most},
            )
    return value
