import numpy as np
import pytest

from index.search.withheld import Withheld


def test_rows_come_ascending_each_once_and_known() -> None:
    withheld = Withheld.of(np.array([4, -1, 2, 4]), 6)

    assert withheld.rows.tolist() == [2, 4]
    assert withheld.allowed.tolist() == [True, True, False, True, False, True]
    assert repr(withheld) == "<Withheld 2 of 6 rows>"


def test_what_all_requests_share_cannot_be_changed() -> None:
    withheld = Withheld.of(np.array([1]), 3)

    with pytest.raises(ValueError, match="read-only"):
        withheld.allowed[0] = False
