"""Who has had what, as a sparse matrix."""

import numpy as np

from model.arrays import Rows
from model.baselines.matrix import history_matrix, training_matrix
from model.data.dataset import Dataset


def test_repeated_items_count_once(histories: list[Rows], binary: np.ndarray) -> None:
    assert any(len(set(history.tolist())) < len(history) for history in histories)

    matrix = history_matrix(histories, binary.shape[1])

    np.testing.assert_array_equal(matrix.toarray(), binary)
    assert matrix.dtype == np.float32


def test_only_the_training_part_is_learned_from(dataset: Dataset) -> None:
    matrix = training_matrix(dataset).toarray()

    assert matrix.shape == (dataset.n_users, dataset.n_items)
    for user, row in enumerate(matrix):
        trained = dataset.items[dataset.offsets[user] : dataset.train_end[user]]
        assert np.flatnonzero(row).tolist() == sorted(set(trained.tolist()))
    assert (dataset.train_end < dataset.offsets[1:]).any(), "else nothing was left out"
