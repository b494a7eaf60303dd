"""The matrix of ones of what yardsticks are fitted to, and of what they are asked about."""

from collections.abc import Sequence

import numpy as np

from model.arrays import Rows
from model.data.dataset import Dataset
from model.data.histories import ragged_ranges
from model.data.user_items import Matrix, binary_matrix


def training_matrix(dataset: Dataset) -> Matrix:
    """Make the matrix of the training part. Shape (n_users, n_items)."""
    users, positions = ragged_ranges(dataset.offsets[:-1], dataset.train_end)
    return binary_matrix(users, dataset.items[positions], (dataset.n_users, dataset.n_items))


def history_matrix(histories: Sequence[Rows], n_items: int) -> Matrix:
    """Make the matrix of a batch of histories. Shape (batch, n_items)."""
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    return binary_matrix(users, np.concatenate(histories), (len(histories), n_items))
