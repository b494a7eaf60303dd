"""Training batches against what OPAL.md asks of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from model.histories import BatchSampler, TrainingBatch, pad_histories, ragged_ranges
from model.opal import PADDING

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
    sequences: list[list[int]], *, n_items: int = 30, max_len: int = 50, n_negatives: int = 10
) -> BatchSampler:
    ends = np.cumsum([len(sequence) for sequence in sequences])
    return BatchSampler(
        items=np.array([item for sequence in sequences for item in sequence], dtype=np.int64),
        begin=np.concatenate(([0], ends[:-1])),
        end=ends,
        n_items=n_items,
        max_len=max_len,
        batch_size=200,
        n_negatives=n_negatives,
    )


def histories_of(batch: TrainingBatch) -> list[list[int]]:
    return [[item for item in row if item != PADDING] for row in batch.histories.tolist()]


def test_one_long_user_is_cut_everywhere_from_three_on() -> None:
    sequence = list(range(10))
    batch = sampler_of([sequence]).draw(np.random.default_rng(0))
    cuts = [len(history) for history in histories_of(batch)]

    assert set(cuts) == set(range(3, 10))
    assert all(history == sequence[: len(history)] for history in histories_of(batch))


def test_a_positive_is_drawn_from_all_that_lies_after_the_cut() -> None:
    batch = sampler_of([list(range(7))]).draw(np.random.default_rng(0))
    drawn = {
        (len(history), int(positive))
        for history, positive in zip(histories_of(batch), batch.positives, strict=True)
    }

    assert drawn == {(cut, later) for cut in range(3, 7) for later in range(cut, 7)}


@pytest.mark.parametrize(("length", "cuts"), [(2, {1}), (3, {2}), (4, {3}), (5, {3, 4})])
def test_short_sequences_keep_a_history_and_a_future(length: int, cuts: set[int]) -> None:
    batch = sampler_of([list(range(length))]).draw(np.random.default_rng(0))

    assert {len(history) for history in histories_of(batch)} == cuts


def test_only_the_last_interactions_before_the_cut_are_kept() -> None:
    sequence = list(range(20))
    batch = sampler_of([sequence], max_len=4).draw(np.random.default_rng(0))

    assert batch.histories.shape == (200, 4)
    for history, positive in zip(histories_of(batch), batch.positives, strict=True):
        first = history[0]
        assert history == sequence[first : first + len(history)]
        assert positive >= first + len(history)
    assert {len(history) for history in histories_of(batch)} == {3, 4}


def test_negatives_are_distinct_items_and_never_of_the_users_own_future() -> None:
    sequences = [list(range(start, start + 8)) for start in (0, 8, 16)]
    sampler = sampler_of(sequences)
    for seed in range(10):
        batch = sampler.draw(np.random.default_rng(seed))

        assert len(set(batch.negatives.tolist())) == 10
        assert all(0 <= item < 30 for item in batch.negatives)
        for history, is_negative in zip(histories_of(batch), batch.is_negative, strict=True):
            sequence = next(own for own in sequences if own[0] == history[0])
            future = set(sequence[len(history) :])
            expected = [item not in future for item in batch.negatives.tolist()]
            assert is_negative.tolist() == expected


def test_every_item_comes_up_as_a_negative() -> None:
    sampler = sampler_of([[0, 1, 2, 3]])
    random = np.random.default_rng(0)
    seen = {item for _ in range(40) for item in sampler.draw(random).negatives.tolist()}

    assert seen == set(range(30))


def test_there_are_no_more_negatives_than_items() -> None:
    batch = sampler_of([[0, 1, 2]], n_items=4).draw(np.random.default_rng(0))

    assert sorted(batch.negatives.tolist()) == [0, 1, 2, 3]


def test_users_come_up_equally_however_long_they_are() -> None:
    sampler = sampler_of([[0] * 4, [1] * 40, [2] * 4])
    random = np.random.default_rng(0)
    users = np.concatenate([sampler.draw(random).positives for _ in range(20)])

    assert np.bincount(users).min() > 0.9 * len(users) / 3


def test_users_of_one_interaction_are_left_out() -> None:
    sampler = sampler_of([[0], [], [1, 2, 3], [4]])

    assert sampler.n_users == 1
    assert set(sampler.draw(np.random.default_rng(0)).positives.tolist()) <= {1, 2, 3}


def test_a_log_without_pairs_is_refused() -> None:
    with pytest.raises(InputError, match="no user has two interactions in the training part"):
        sampler_of([[0], [1]])


def test_the_generator_alone_determines_a_batch() -> None:
    sampler = sampler_of([list(range(9)), list(range(9, 25))])
    first, again = (sampler.draw(np.random.default_rng(5)) for _ in range(2))

    assert np.array_equal(first.histories, again.histories)
    assert np.array_equal(first.positives, again.positives)
    assert np.array_equal(first.negatives, again.negatives)
