"""Training batches against what arXiv 2407.14741 asks of them."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.histories import (
    MAX_POSITIVES,
    PADDING,
    BatchSampler,
    TrainingBatch,
    pad_histories,
    ragged_ranges,
    sorting_order,
)
from model.data.negatives import EvenNegatives, NegativeSampler, PopularNegatives
from model.errors import InputError
from tests.logs import lay_out

ranges = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=12)


def bounds(drawn: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    begin = np.array([begin for begin, _ in drawn], dtype=np.int64)
    return begin, begin + np.array([length for _, length in drawn], dtype=np.int64)


@given(ranges)
def test_ragged_ranges_are_those_of_a_loop(drawn: list[tuple[int, int]]) -> None:
    begin, end = bounds(drawn)
    owner, position = ragged_ranges(begin, end)

    expected = [(i, p) for i in range(len(begin)) for p in range(begin[i], end[i])]
    assert list(zip(owner.tolist(), position.tolist(), strict=True)) == expected


@given(ranges)
def test_padded_histories_are_those_of_a_loop(drawn: list[tuple[int, int]]) -> None:
    begin, end = bounds(drawn)
    items = np.arange(100, 130)
    longest = max((length for _, length in drawn), default=0)

    expected = [
        [*items[b:e].tolist(), *[PADDING] * (longest - (e - b))]
        for b, e in zip(begin, end, strict=True)
    ]
    assert pad_histories(items, begin, end).tolist() == expected


def sampler_of(
    sequences: list[list[int]],
    *,
    n_items: int = 30,
    max_len: int = 50,
    n_negatives: int = 10,
    negatives: NegativeSampler | None = None,
    **options: Any,
) -> BatchSampler:
    return BatchSampler(
        **lay_out(sequences)._asdict(),
        n_items=n_items,
        max_len=max_len,
        batch_size=200,
        negatives=negatives or EvenNegatives(n_items, n_negatives),
        **options,
    )


def histories_of(batch: TrainingBatch) -> list[list[int]]:
    rows = batch.items[batch.histories]
    return [own.tolist() for own in np.split(rows, np.cumsum(batch.lengths)[:-1])]


def positives_of(batch: TrainingBatch) -> list[int]:
    rows: list[int] = batch.items[batch.positives].tolist()
    return rows


def negatives_of(batch: TrainingBatch) -> list[int]:
    rows: list[int] = batch.items[batch.negatives].tolist()
    return rows


def test_one_long_user_is_cut_everywhere_from_three_on() -> None:
    sequence = list(range(10))
    batch = sampler_of([sequence]).draw(np.random.default_rng(0))
    cuts = [len(history) for history in histories_of(batch)]

    assert set(cuts) == set(range(3, 10))
    assert all(history == sequence[: len(history)] for history in histories_of(batch))


def test_a_positive_is_drawn_from_all_that_lies_after_the_cut() -> None:
    batch = sampler_of([list(range(7))]).draw(np.random.default_rng(0))
    drawn = {
        (len(history), positive)
        for history, positive in zip(histories_of(batch), positives_of(batch), strict=True)
    }

    assert drawn == {(cut, later) for cut in range(3, 7) for later in range(cut, 7)}


def test_of_several_cuts_drawn_the_latest_counts() -> None:
    """The latest of n is before the middle of ten places with probability 2^-n."""
    random = np.random.default_rng(0)
    shares = []
    for draws in (1, 2, 4):
        sampler = sampler_of([list(range(11))], min_cut=1, cut_draws=draws)
        cuts = np.concatenate([sampler.draw(random).lengths for _ in range(20)])
        assert set(cuts.tolist()) <= set(range(1, 11))
        shares.append((cuts <= 5).mean())

    np.testing.assert_allclose(shares, [1 / 2, 1 / 4, 1 / 16], atol=0.03)


@pytest.mark.parametrize(("length", "cuts"), [(2, {1}), (3, {2}), (4, {3}), (5, {3, 4})])
def test_short_sequences_keep_a_history_and_a_future(length: int, cuts: set[int]) -> None:
    batch = sampler_of([list(range(length))]).draw(np.random.default_rng(0))

    assert {len(history) for history in histories_of(batch)} == cuts


def test_only_the_last_interactions_before_the_cut_are_kept() -> None:
    sequence = list(range(20))
    batch = sampler_of([sequence], max_len=4).draw(np.random.default_rng(0))

    for history, positive in zip(histories_of(batch), positives_of(batch), strict=True):
        first = history[0]
        assert history == sequence[first : first + len(history)]
        assert positive >= first + len(history)
    assert {len(history) for history in histories_of(batch)} == {3, 4}


@pytest.mark.parametrize("n_items", [30, 100_000])
def test_negatives_are_distinct_items_and_those_of_the_users_own_future_are_named(
    n_items: int,
) -> None:
    # Every second item occurs twice in a sequence; in the large catalog all items are rare.
    sequences = [[start + i // 2 * 2 for i in range(8)] for start in (0, 8, 16)]
    sampler = sampler_of(sequences, n_items=n_items)
    random = np.random.default_rng(0)
    for _ in range(10):
        batch = sampler.draw(random)
        negatives = negatives_of(batch)

        assert len(set(negatives)) == 10
        assert all(0 <= item < n_items for item in negatives)
        expected = set()
        for user, history in enumerate(histories_of(batch)):
            sequence = next(own for own in sequences if own[0] == history[0])
            future = sequence[len(history) :]
            expected |= {(user, n) for n, item in enumerate(negatives) if item in future}
        assert set(zip(*batch.own_future.tolist(), strict=True)) == expected


def test_a_batch_of_a_large_catalog_holds_its_own_items_only() -> None:
    batch = sampler_of([list(range(9)), [99_000, 5, 99_000, 7]], n_items=100_000).draw(
        np.random.default_rng(0)
    )
    used = {row for own in histories_of(batch) for row in own}
    used |= {*positives_of(batch), *negatives_of(batch)}

    assert batch.items.tolist() == sorted(used)


@pytest.mark.parametrize("n_items", [30, 100_000])
def test_interactions_are_given_in_order_of_their_item_too(n_items: int) -> None:
    batch = sampler_of([list(range(20)), [3, 2, 3, 1, 3]], n_items=n_items).draw(
        np.random.default_rng(0)
    )

    assert batch.by_item.tolist() == np.argsort(batch.histories, kind="stable").tolist()


@pytest.mark.parametrize("end", [2**16, 2**16 + 1, 2**40])
def test_the_sorting_order_holds_to_the_end_of_the_numbers(end: int) -> None:
    numbers = np.array([end - 1, 0, 5, end - 1, end // 2, 0])

    assert sorting_order(numbers, end).tolist() == [1, 5, 2, 4, 0, 3]


def test_ages_count_back_from_the_cut_and_dropped_interactions_count() -> None:
    sequence = list(range(12))
    sampler = sampler_of([sequence], max_len=6, history_dropout=0.5)
    batch = sampler.draw(np.random.default_rng(0))
    ages = np.split(batch.ages, np.cumsum(batch.lengths)[:-1])

    newest = {
        int(history[0] + age[0]) for history, age in zip(histories_of(batch), ages, strict=True)
    }
    for history, age, positive in zip(histories_of(batch), ages, positives_of(batch), strict=True):
        last = history[0] + age[0]  # the item before the cut, dropped or not
        assert [last - item for item in history] == age.tolist()
        assert max(age) < 6
        assert positive > last
    assert newest == set(range(2, 11))


def test_history_dropout_drops_its_share_and_never_everything() -> None:
    sampler = sampler_of([list(range(25))], max_len=20, history_dropout=0.6)
    whole = sampler_of([list(range(25))], max_len=20)
    lengths = [
        each.draw(np.random.default_rng(seed)).lengths
        for each in (sampler, whole)
        for seed in range(5)
    ]

    assert min(map(min, lengths)) >= 1
    assert np.mean(lengths[:5]) / np.mean(lengths[5:]) == pytest.approx(0.45, abs=0.06)


def test_within_the_horizon_all_is_positive() -> None:
    sequence = list(range(20))
    batch = sampler_of([sequence], horizon=0.2).draw(np.random.default_rng(0))
    positives = np.array(positives_of(batch))

    for user, history in enumerate(histories_of(batch)):
        expected = sequence[len(history) : len(history) + 4]
        assert positives[batch.owners == user].tolist() == expected


@pytest.mark.parametrize(("length", "horizon", "reach"), [(20, 0.01, 1), (4, 0.2, 1), (7, 0.5, 4)])
def test_the_horizon_is_a_share_of_the_sequence_and_one_interaction_at_least(
    length: int, horizon: float, reach: int
) -> None:
    batch = sampler_of([list(range(length))], horizon=horizon, min_cut=1).draw(
        np.random.default_rng(0)
    )
    found = np.bincount(batch.owners, minlength=200)

    assert found.tolist() == np.minimum(reach, length - batch.lengths).tolist()


def test_a_horizon_of_all_makes_all_that_lies_ahead_positive() -> None:
    sequences = [[0, 1, 2, 3, 4, 5], [6, 7, 6, 8, 6, 9]]
    batch = sampler_of(sequences, horizon=1.0).draw(np.random.default_rng(0))
    positives = np.array(positives_of(batch))

    for user, history in enumerate(histories_of(batch)):
        sequence = next(own for own in sequences if own[0] == history[0])
        assert history + positives[batch.owners == user].tolist() == sequence


def test_dropout_drops_every_interaction_as_often_and_keeps_the_order() -> None:
    sequence = list(range(12))
    sampler = sampler_of([sequence], max_len=6, min_cut=6, history_dropout=0.5)
    random = np.random.default_rng(0)
    kept = np.zeros(6)
    for _ in range(20):
        batch = sampler.draw(random)
        assert all(history == sorted(history) for history in histories_of(batch))
        kept += np.bincount(batch.ages, minlength=6)

    # One is kept in any case, whichever it is: ½ + ½ · ⅙ of the time each.
    np.testing.assert_allclose(kept / (20 * 200), 7 / 12, atol=0.03)


@pytest.mark.parametrize("dropout", [0.5, 0.999])
def test_a_history_of_one_is_never_dropped(dropout: float) -> None:
    batch = sampler_of([[4, 9]], history_dropout=dropout).draw(np.random.default_rng(0))

    assert histories_of(batch) == [[4]] * 200
    assert not batch.ages.any()


def test_dropout_changes_neither_cuts_nor_positives_of_what_is_to_come() -> None:
    whole, dropped = (
        sampler_of([list(range(25))], history_dropout=share).draw(np.random.default_rng(3))
        for share in (0.0, 0.5)
    )

    assert positives_of(whole) == positives_of(dropped)
    assert negatives_of(whole) == negatives_of(dropped)
    assert (dropped.lengths <= whole.lengths).all()


@pytest.mark.parametrize("n_items", [30, 100_000])
@pytest.mark.parametrize("horizon", [None, 0.5])
def test_all_of_the_own_future_among_weighted_negatives_is_named(
    n_items: int, horizon: float | None
) -> None:
    sequence = [0, 1, 2, 3, 4, 5, 6, 7]
    interactions = np.zeros(n_items, dtype=np.int64)
    interactions[:10] = 10**9  # nothing else is likely to be drawn
    sampler = sampler_of(
        [sequence], n_items=n_items, negatives=PopularNegatives(interactions, 100), horizon=horizon
    )
    batch = sampler.draw(np.random.default_rng(0))
    negatives = negatives_of(batch)

    assert batch.log_weights is not None
    assert len(batch.log_weights) == len(negatives)
    for user, positive in zip(batch.owners, positives_of(batch), strict=True):
        own = set(batch.own_future[1][batch.own_future[0] == user])
        assert positive not in [n for i, n in enumerate(negatives) if i not in own]
    expected = {
        (user, negatives.index(item))
        for user, history in enumerate(histories_of(batch))
        for item in sequence[len(history) :]
        if item in negatives
    }
    assert set(zip(*batch.own_future.tolist(), strict=True)) == expected


def test_the_cut_leaves_as_few_before_it_as_it_is_told() -> None:
    batch = sampler_of([list(range(6))], min_cut=1).draw(np.random.default_rng(0))

    assert {len(history) for history in histories_of(batch)} == {1, 2, 3, 4, 5}


def test_every_item_comes_up_as_a_negative() -> None:
    sampler = sampler_of([[0, 1, 2, 3]])
    random = np.random.default_rng(0)
    seen = {item for _ in range(40) for item in negatives_of(sampler.draw(random))}

    assert seen == set(range(30))


def test_there_are_no_more_negatives_than_items() -> None:
    batch = sampler_of([[0, 1, 2]], n_items=4).draw(np.random.default_rng(0))

    assert sorted(negatives_of(batch)) == [0, 1, 2, 3]


def test_users_come_up_equally_however_long_they_are() -> None:
    sampler = sampler_of([[0] * 4, [1] * 40, [2] * 4])
    random = np.random.default_rng(0)
    users = np.concatenate([positives_of(sampler.draw(random)) for _ in range(20)])

    assert np.bincount(users).min() > 0.9 * len(users) / 3


def test_users_of_one_interaction_are_left_out() -> None:
    sampler = sampler_of([[0], [], [1, 2, 3], [4]])

    assert sampler.n_users == 1
    assert set(positives_of(sampler.draw(np.random.default_rng(0)))) <= {1, 2, 3}


def test_a_log_without_pairs_is_refused() -> None:
    with pytest.raises(InputError, match="no user has two interactions in the training part"):
        sampler_of([[0], [1]])


@pytest.mark.parametrize(
    "options",
    [{}, {"horizon": 0.3, "history_dropout": 0.5, "min_cut": 1, "cut_draws": 2}],
    ids=["paper", "default"],
)
def test_the_generator_alone_determines_a_batch(options: dict[str, Any]) -> None:
    sampler = sampler_of([list(range(9)), list(range(9, 25))], **options)
    first, again = (sampler.draw(np.random.default_rng(5)) for _ in range(2))

    for field in fields(TrainingBatch):
        assert np.array_equal(getattr(first, field.name), getattr(again, field.name))


def test_a_batch_leaves_nothing_behind_for_the_next() -> None:
    sequences = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    used, fresh = (sampler_of(sequences, n_items=100_000, n_negatives=50_000) for _ in range(2))
    used.draw(np.random.default_rng(1))
    later, first = (sampler.draw(np.random.default_rng(5)) for sampler in (used, fresh))

    assert np.array_equal(later.own_future, first.own_future)


def test_a_very_long_user_has_a_bounded_number_of_positives() -> None:
    sampler = BatchSampler(
        items=np.arange(5000),
        begin=np.array([0]),
        end=np.array([5000]),
        n_items=5000,
        max_len=10,
        batch_size=20,
        negatives=EvenNegatives(5000, 10),
        horizon=0.5,
    )
    batch = sampler.draw(np.random.default_rng(0))

    assert np.bincount(batch.owners).max() == MAX_POSITIVES
