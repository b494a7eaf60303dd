"""Metrics among sampled items, against a slow reading of their rules."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from model.arrays import Rows
from model.errors import InputError
from model.sampled_evaluation import evaluate_among_sampled

N_ITEMS = 30


def rows(*numbers: int) -> Rows:
    return np.array(numbers, dtype=np.int64)


def by_row(histories: Sequence[Rows]) -> torch.Tensor:
    """The smaller its row, the better an item."""
    return torch.arange(N_ITEMS, 0, -1, dtype=torch.float32).repeat(len(histories), 1)


def test_among_all_others_a_rank_is_that_of_the_whole_catalog() -> None:
    # Before item 7 come 0 to 6, of which 2 and 3 were had: five, and the target is the sixth.
    found = evaluate_among_sampled(
        by_row, N_ITEMS, [rows(2, 3, 20)], [rows(7)], n_negatives=N_ITEMS - 4
    )

    assert found == pytest.approx(
        {
            "mrr": 1 / 6,
            "hitrate@1": 0,
            "ndcg@1": 0,
            "hitrate@5": 0,
            "ndcg@5": 0,
            "hitrate@10": 1,
            "ndcg@10": 1 / np.log2(7),
            "users": 1,
        }
    )


def test_neither_history_nor_other_targets_compete() -> None:
    # All that is better was had or is wanted itself.
    found = evaluate_among_sampled(
        by_row, N_ITEMS, [rows(0, 1, 1)], [rows(2, 3)], n_negatives=N_ITEMS - 4
    )

    assert found["hitrate@1"] == found["mrr"] == 1


def test_negatives_are_drawn_evenly_from_what_was_not_had() -> None:
    """Of N negatives out of the M better ones a share of N / (all others) lies before a target."""
    n_users, n_negatives = 4000, 5
    histories = [rows(0, 29)] * n_users
    found = evaluate_among_sampled(
        by_row, N_ITEMS, histories, [rows(10)] * n_users, n_negatives=n_negatives
    )

    # 9 of 27 others are better: none of 5 distinct ones with probability C(18, 5) / C(27, 5).
    none = np.prod([(18 - n) / (27 - n) for n in range(n_negatives)])
    assert found["hitrate@1"] == pytest.approx(none, abs=4 * np.sqrt(none / n_users))
    assert found["users"] == n_users


def test_users_count_alike_whatever_the_number_of_their_targets() -> None:
    found = evaluate_among_sampled(
        by_row, N_ITEMS, [rows(5), rows(6)], [rows(0), rows(28, 29)], n_negatives=20
    )

    assert found["hitrate@5"] == 0.5


def test_equal_scores_count_half() -> None:
    def alike(histories: Sequence[Rows]) -> torch.Tensor:
        return torch.ones(len(histories), N_ITEMS)

    found = evaluate_among_sampled(alike, N_ITEMS, [rows(1)], [rows(2)], n_negatives=8)

    assert found["mrr"] == 1 / 5
    assert found["hitrate@5"] == 1


def test_the_same_is_measured_each_time() -> None:
    random = np.random.default_rng(1)
    histories = [random.permutation(N_ITEMS)[:4] for _ in range(50)]
    targets = [np.setdiff1d(np.arange(N_ITEMS), history)[:1] for history in histories]

    def score(histories: Sequence[Rows]) -> torch.Tensor:
        return torch.from_numpy(np.random.default_rng(2).random((len(histories), N_ITEMS)))

    first, second = (
        evaluate_among_sampled(score, N_ITEMS, histories, targets, n_negatives=9) for _ in "12"
    )
    assert first == second


def test_without_users_there_is_nothing_to_average() -> None:
    assert evaluate_among_sampled(by_row, N_ITEMS, [], [], n_negatives=5) == {"users": 0}


def test_more_negatives_than_there_are_others_are_refused() -> None:
    with pytest.raises(
        InputError,
        match="--negatives is 27, but a user has had 4 of 30 items; expected 26 or fewer",
    ):
        evaluate_among_sampled(by_row, N_ITEMS, [rows(1, 2, 3)], [rows(4)], n_negatives=27)
