"""Item-kNN against loops over users and items."""

import math

import numpy as np
import pytest

from model.arrays import Rows
from model.baselines.itemknn import ItemKnn, count_pairs
from model.baselines.matrix import history_matrix
from model.errors import InputError


def slow_scores(
    binary: np.ndarray, history: list[int], shrinkage: float, neighbours: int | None
) -> list[float]:
    n_items = binary.shape[1]
    users = [set(np.flatnonzero(binary[:, item]).tolist()) for item in range(n_items)]
    scores = []
    for candidate in range(n_items):
        similar = []
        for other in range(n_items):
            common = len(users[candidate] & users[other])
            if other != candidate and common:
                size = math.sqrt(len(users[candidate]) * len(users[other]))
                similar.append((-common / (size + shrinkage), other))
        nearest = sorted(similar)[:neighbours]
        scores.append(-sum(value for value, other in nearest if other in history))
    return scores


@pytest.mark.parametrize("neighbours", [None, 1, 5, 100])
@pytest.mark.parametrize("shrinkage", [0.0, 20.0])
def test_scores_are_those_of_loops(
    histories: list[Rows], binary: np.ndarray, neighbours: int | None, shrinkage: float
) -> None:
    matrix = history_matrix(histories, binary.shape[1])

    scores = ItemKnn(matrix, shrinkage=shrinkage, neighbours=neighbours).scores(histories[:9])

    assert scores.dtype == np.float32
    slow = [slow_scores(binary, each.tolist(), shrinkage, neighbours) for each in histories[:9]]
    np.testing.assert_allclose(scores, slow, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("block", [40, 1])
def test_a_large_catalog_is_compared_in_blocks(
    histories: list[Rows], monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    matrix = history_matrix(histories, 23)
    whole = ItemKnn(matrix, shrinkage=2, neighbours=5).scores(histories)
    monkeypatch.setattr("model.data.user_items._MAX_BLOCK", block)

    in_blocks = ItemKnn(matrix, shrinkage=2, neighbours=5).scores(histories)
    np.testing.assert_array_equal(in_blocks, whole)


def test_the_number_of_pairs_is_counted(histories: list[Rows], binary: np.ndarray) -> None:
    matrix = history_matrix(histories, binary.shape[1])

    assert count_pairs(matrix) == sum(len(set(each.tolist())) ** 2 for each in histories)


def test_it_tells_what_determines_it(histories: list[Rows]) -> None:
    matrix = history_matrix(histories, 23)
    told = ItemKnn(matrix, shrinkage=20.0, neighbours=3).hyper_parameters

    assert told == {"shrinkage": 20.0, "neighbours": 3}
    again = ItemKnn(matrix, **told).scores(histories)
    np.testing.assert_array_equal(
        again, ItemKnn(matrix, shrinkage=20, neighbours=3).scores(histories)
    )


@pytest.mark.parametrize(
    ("shrinkage", "neighbours", "words"),
    [
        (-1, None, "shrinkage is -1; expected 0 or more"),
        (math.nan, None, "shrinkage is nan"),
        (0, 0, "neighbours is 0; expected at least 1"),
    ],
)
def test_impossible_numbers_are_refused(
    histories: list[Rows], shrinkage: float, neighbours: int | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        ItemKnn(history_matrix(histories, 23), shrinkage=shrinkage, neighbours=neighbours)
