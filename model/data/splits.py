"""Split interactions into training, validation and test (arXiv 2407.14741: evaluation protocol).

All splits keep a user's interactions in time order, so that training, validation and test are
consecutive parts of each user's sequence.
"""

from typing import Literal

import polars as pl

from model.errors import InputError

SplitKind = Literal["day", "user", "last"]
SplitChoice = Literal["auto", "day", "user", "last"]

TRAIN, VALID, TEST = 0, 1, 2

SECONDS_PER_DAY = 86_400
MIN_USER_LENGTH = 5  # a shorter sequence only trains
MIN_LENGTH_BEFORE_LAST = 3  # of the split "last": one interaction for each part
HELD_OUT_SHARE = 10  # the last tenth is test, the tenth before it validation

_LENGTH = pl.len().over("user")

# "auto" takes the day split where two days can hold anything: the log is at least two weeks long
# and at least this many users of each of its last two days were active before.
_MIN_DAYS = 14
_MIN_USERS_PER_DAY = 100


def choose_split(
    interactions: pl.LazyFrame, choice: SplitChoice, *, has_timestamps: bool
) -> tuple[SplitKind, str]:
    """Choose the split and say why.

    Args:
        interactions: Columns ``user`` and ``timestamp`` (seconds since epoch).
        choice: What was asked for.
        has_timestamps: Whether the log has timestamps.

    Returns:
        The split and the reason in words.

    Raises:
        InputError: ``day`` was asked for, and the log has no timestamps or only one day.
    """
    if choice in ("user", "last"):
        return choice, "as asked"
    if not has_timestamps:
        if choice == "day":
            raise InputError("--split day needs a column 'timestamp'; use --split user")
        return "user", "the log has no timestamps"
    day = (pl.col("timestamp") // SECONDS_PER_DAY).cast(pl.Int64).alias("day")
    first, last = (
        interactions.select(day.min().alias("first"), day.max().alias("last"))
        .collect(engine="streaming")
        .row(0)
    )
    days = last - first + 1
    if choice == "day":
        if days < 3:  # noqa: PLR2004 - one day each for training, validation and test
            raise InputError(f"--split day needs at least 3 days, the log spans {days}")
        return "day", "as asked"
    if days < _MIN_DAYS:
        return "user", f"the log spans {days} days, the day split wants {_MIN_DAYS}"
    users = [_returning_users(interactions, day, held_out) for held_out in (last - 1, last)]
    if min(users) < _MIN_USERS_PER_DAY:
        return "user", (
            f"only {min(users)} users of one of the last two days were active before, "
            f"the day split wants {_MIN_USERS_PER_DAY}"
        )
    return "day", f"the log spans {days} days"


def with_parts(interactions: pl.LazyFrame, kind: SplitKind) -> pl.LazyFrame:
    """Add ``part`` by the split that was chosen; see ``split_by_user`` and its like."""
    by = {"day": split_by_day, "user": split_by_user, "last": split_last}
    return by[kind](interactions)


def split_by_user(interactions: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``part``: of a user's L interactions the last n = max(1, ⌊L/10⌋) are test.

    The n before them are validation; users with fewer than 5 interactions only train.

    Args:
        interactions: Column ``user``; sorted by user, then time.
    """
    tenth = pl.max_horizontal(_LENGTH // HELD_OUT_SHARE, 1)
    return _hold_out(interactions, tenth, min_length=MIN_USER_LENGTH)


def split_last(interactions: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``part``: a user's last interaction is test, the one before it validation.

    "Leave one out", as in many papers (SASRec, arXiv 1808.09781, section IV.A). Users with fewer
    than 3 interactions only train.

    Args:
        interactions: Column ``user``; sorted by user, then time.
    """
    return _hold_out(interactions, pl.lit(1), min_length=MIN_LENGTH_BEFORE_LAST)


def split_by_day(interactions: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``part``: the log's last day (UTC) is test, the day before validation.

    Args:
        interactions: Column ``timestamp`` (seconds since epoch).
    """
    day = (pl.col("timestamp") // SECONDS_PER_DAY).cast(pl.Int64)
    return interactions.with_columns(
        pl.when(day == day.max())
        .then(TEST)
        .when(day == day.max() - 1)
        .then(VALID)
        .otherwise(TRAIN)
        .cast(pl.UInt8)
        .alias("part")
    )


def _hold_out(interactions: pl.LazyFrame, n: pl.Expr, *, min_length: int) -> pl.LazyFrame:
    """Add ``part``: a user's last n interactions are test, the n before them validation.

    Args:
        interactions: Column ``user``; sorted by user, then time.
        n: How many of the user of each row.
        min_length: Users with fewer interactions only train.
    """
    position = pl.int_range(pl.len()).over("user")
    return interactions.with_columns(
        pl.when(min_length > _LENGTH)
        .then(TRAIN)
        .when(position >= _LENGTH - n)
        .then(TEST)
        .when(position >= _LENGTH - 2 * n)
        .then(VALID)
        .otherwise(TRAIN)
        .cast(pl.UInt8)
        .alias("part")
    )


def _returning_users(interactions: pl.LazyFrame, day: pl.Expr, held_out: int) -> int:
    days = interactions.select("user", day)
    before = days.filter(pl.col("day") < held_out).select("user").unique()
    on_day = days.filter(pl.col("day") == held_out).select("user").unique()
    return int(on_day.join(before, on="user").select(pl.len()).collect(engine="streaming").item())
