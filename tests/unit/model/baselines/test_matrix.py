"""Who has had what, as a sparse matrix; and rows in blocks."""

import numpy as np
import pytest

from model.arrays import Rows
from model.baselines.matrix import history_matrix, row_blocks, training_matrix
from model.dataset import Dataset


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


@pytest.mark.parametrize(
    ("work", "sizes"),
    [([3, 3, 3, 3], [3, 1]), ([20, 1, 20, 20], [1, 1, 1, 1]), ([0, 0, 9, 0], [4]), ([], [])],
)
def test_blocks_are_all_rows_and_bounded(work: list[int], sizes: list[int]) -> None:
    blocks = row_blocks(np.array(work, dtype=np.int64), 10)

    assert [block.stop - block.start for block in blocks] == sizes
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(
        range(len(work))
    )
