"""Rows in blocks of bounded work."""

import numpy as np
import pytest

from model.data.user_items import row_blocks


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
