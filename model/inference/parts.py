"""Histories of several users in one array, computed with as if each were alone."""

import numpy as np

from model.arrays import Floats, Rows


class Parts:
    """Where the rows of each user lie in an array that holds those of all, one after the other.

    Products and sums are made for each user alone, so that their shapes depend on that user's
    history only: BLAS rounds otherwise in other shapes.

    Args:
        lengths: Rows of each user, 0 allowed.
    """

    def __init__(self, lengths: list[int]) -> None:
        self.lengths: Rows = np.array(lengths)
        self._ends = self.lengths.cumsum()
        self.slices = [
            slice(end - length, end)
            for end, length in zip(self._ends.tolist(), lengths, strict=True)
        ]

    @property
    def part_of_row(self) -> Rows:
        """The user of each row. Shape (n,), int64."""
        return np.arange(len(self.lengths)).repeat(self.lengths)

    @property
    def places_from_end(self) -> Floats:
        """1 for the last row of a user, 2 for the one before …: 1 + age. Shape (n,), float32."""
        places = self._ends.repeat(self.lengths) - np.arange(self._ends[-1])
        return places.astype(np.float32)

    def products(self, rows: Floats, matrix: Floats) -> Floats:
        """Multiply rows of shape (n, d) with a matrix of shape (d, m)."""
        result = np.empty((len(rows), matrix.shape[1]), dtype=np.float32)
        for part in self.slices:
            np.matmul(rows[part], matrix, out=result[part])
        return result

    def sums(self, rows: Floats) -> Floats:
        """Sum rows of shape (n, m) for each user. Shape (n_users, m), float32."""
        result = np.empty((len(self.slices), rows.shape[1]), dtype=np.float32)
        for part, total in zip(self.slices, result, strict=True):
            np.add.reduce(rows[part], axis=0, out=total)
        return result

    def weighted_sums(self, weights: Floats, rows: Floats) -> Floats:
        """Sum rows of shape (n, d) with weights of shape (n, k). Shape (n_users, k, d), float32."""
        shape = len(self.slices), weights.shape[1], rows.shape[1]
        result = np.empty(shape, dtype=np.float32)
        for part, total in zip(self.slices, result, strict=True):
            np.matmul(weights[part].T, rows[part], out=total)
        return result
