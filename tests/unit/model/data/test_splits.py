"""Both splits against a slow reading of their rules."""

from collections import defaultdict

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.splits import (
    SECONDS_PER_DAY,
    TEST,
    TRAIN,
    VALID,
    SplitChoice,
    choose_split,
    split_by_day,
    split_by_user,
    split_last,
    with_parts,
)
from model.errors import InputError

Log = list[tuple[int, float | None]]

# Few users and times, so that sequences grow long and ties are many.
users = st.integers(0, 3)
times = st.integers(-3 * SECONDS_PER_DAY, 4 * SECONDS_PER_DAY).map(lambda t: t // 7200 * 7200.0)
logs = st.lists(st.tuples(users, times), min_size=1, max_size=80)


def frame(log: Log) -> pl.LazyFrame:
    """The log as ``prepare`` hands it over: by user, then time, ties in file order."""
    schema = {"user": pl.Int32, "timestamp": pl.Float64}
    rows = pl.DataFrame(log, schema=schema, orient="row").with_row_index("order")
    return rows.lazy().sort("user", "timestamp", "order", nulls_last=True)


def parts_of(split: pl.LazyFrame) -> list[int]:
    """Part of each interaction, in file order."""
    return split.sort("order").collect()["part"].to_list()


def sequences_of(log: Log) -> list[list[int]]:
    """Each user's interactions as places in the file, in time order."""
    sequences: dict[int, list[int]] = defaultdict(list)
    for order, (user, _) in sorted(enumerate(log), key=lambda row: (row[1][1] or 0, row[0])):
        sequences[user].append(order)
    return list(sequences.values())


def slow_user_split(log: Log) -> list[int]:
    parts = [TRAIN] * len(log)
    for sequence in sequences_of(log):
        if len(sequence) < 5:
            continue
        n = max(1, len(sequence) // 10)
        for order in sequence[-n:]:
            parts[order] = TEST
        for order in sequence[-2 * n : -n]:
            parts[order] = VALID
    return parts


def slow_last_split(log: Log) -> list[int]:
    parts = [TRAIN] * len(log)
    for sequence in sequences_of(log):
        if len(sequence) > 2:
            parts[sequence[-2]], parts[sequence[-1]] = VALID, TEST
    return parts


def slow_day_split(log: list[tuple[int, float]]) -> list[int]:
    days = [int(time // SECONDS_PER_DAY) for _, time in log]
    last = max(days)
    return [{last: TEST, last - 1: VALID}.get(day, TRAIN) for day in days]


@given(logs)
def test_user_split_is_the_slow_one(log: Log) -> None:
    assert parts_of(split_by_user(frame(log))) == slow_user_split(log)


@given(logs)
def test_the_split_of_the_last_is_the_slow_one(log: Log) -> None:
    assert parts_of(split_last(frame(log))) == slow_last_split(log)


@given(logs)
def test_day_split_is_the_slow_one(log: list[tuple[int, float]]) -> None:
    assert parts_of(split_by_day(frame(list(log)))) == slow_day_split(log)


@given(st.lists(users, min_size=1, max_size=60))
def test_user_split_without_times_takes_file_order(order: list[int]) -> None:
    log: Log = [(user, None) for user in order]

    assert parts_of(split_by_user(frame(log))) == slow_user_split(log)


@pytest.mark.parametrize(
    ("length", "valid", "test"),
    [(1, 0, 0), (4, 0, 0), (5, 1, 1), (19, 1, 1), (20, 2, 2), (39, 3, 3)],
)
def test_a_tenth_of_a_sequence_is_held_out(length: int, valid: int, test: int) -> None:
    parts = parts_of(split_by_user(frame([(0, float(time)) for time in range(length)])))

    assert parts == [TRAIN] * (length - valid - test) + [VALID] * valid + [TEST] * test


def test_of_three_interactions_each_is_a_part() -> None:
    log: Log = [(0, 3.0), (0, 1.0), (0, 2.0), (1, 1.0), (1, 2.0)]

    parts = [TEST, TRAIN, VALID, TRAIN, TRAIN]
    assert parts_of(with_parts(frame(log), "last")) == parts


def test_ties_keep_file_order() -> None:
    log: Log = [(0, 5.0), (0, 1.0), (0, 5.0), (0, 5.0), (0, 5.0), (0, 0.0)]

    assert parts_of(split_by_user(frame(log))) == [TRAIN, TRAIN, TRAIN, VALID, TEST, TRAIN]


def test_days_begin_at_midnight_utc() -> None:
    day = SECONDS_PER_DAY
    log: Log = [(0, day - 0.5), (0, day), (0, 2 * day - 0.5), (0, 2 * day), (0, 0.0)]

    assert parts_of(split_by_day(frame(log))) == [TRAIN, VALID, VALID, TEST, TRAIN]


def days(n_days: int, n_users: int) -> Log:
    return [
        (user, day * SECONDS_PER_DAY + 60.0) for day in range(n_days) for user in range(n_users)
    ]


def choose(log: Log, choice: SplitChoice = "auto", *, times: bool = True) -> tuple[str, str]:
    return choose_split(frame(log), choice, has_timestamps=times)


def test_auto_takes_days_where_they_are_enough() -> None:
    assert choose(days(14, 100)) == ("day", "the log spans 14 days")


def test_auto_takes_users_where_days_are_few() -> None:
    assert choose(days(13, 100)) == ("user", "the log spans 13 days, the day split wants 14")


def test_auto_takes_users_where_few_come_back() -> None:
    kind, reason = choose(days(14, 99))

    assert kind == "user"
    assert reason.startswith("only 99 users of one of the last two days were active before")


def test_auto_counts_only_users_who_were_active_before() -> None:
    newcomers: Log = [(1000 + user, 13 * SECONDS_PER_DAY + 1.0) for user in range(200)]

    assert choose(days(13, 100) + newcomers)[0] == "user"
    assert choose(days(13, 100) + newcomers)[1].startswith("only 0 users")


def test_auto_takes_users_without_timestamps() -> None:
    assert choose([(0, None)] * 9, times=False) == ("user", "the log has no timestamps")


def test_what_was_asked_for_is_taken() -> None:
    assert choose(days(3, 1), "day") == ("day", "as asked")
    assert choose(days(20, 200), "user") == ("user", "as asked")
    assert choose(days(20, 200), "last") == ("last", "as asked")


def test_day_split_without_timestamps_is_refused() -> None:
    with pytest.raises(InputError, match="--split day needs a column 'timestamp'"):
        choose([(0, None)], "day", times=False)


def test_day_split_of_two_days_is_refused() -> None:
    with pytest.raises(InputError, match="needs at least 3 days, the log spans 2"):
        choose(days(2, 5), "day")
