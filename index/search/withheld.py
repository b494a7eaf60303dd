"""The rows of a catalog that must not be candidates, made once for many retrievals."""

from dataclasses import dataclass

import numpy as np

from model.arrays import Mask, Rows


@dataclass(frozen=True, eq=False)
class Withheld:
    """Rows that no retrieval may return.

    Attributes:
        rows: Ascending, each once. Shape (m,), int64.
        allowed: False for them, True for all others. Shape (n_items,), bool.
    """

    rows: Rows
    allowed: Mask

    def __repr__(self) -> str:
        return f"<Withheld {len(self.rows)} of {len(self.allowed)} rows>"

    @classmethod
    def of(cls, rows: Rows, n_items: int) -> "Withheld":
        """Withhold these rows of a catalog.

        Args:
            rows: In any order; repeated ones and -1 (unknown item) do no harm. Shape (m,), int64.
            n_items: Size of the catalog.
        """
        rows = np.unique(rows[rows >= 0])
        allowed = np.ones(n_items, dtype=np.bool_)
        allowed[rows] = False
        for array in (rows, allowed):  # shared by all requests
            array.setflags(write=False)
        return cls(rows, allowed)
