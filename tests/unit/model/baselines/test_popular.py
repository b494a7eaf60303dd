"""The same list for everybody."""

import numpy as np

from model.baselines.popular import Popular


def test_items_go_by_interactions_and_ties_by_row() -> None:
    scores = Popular(np.array([3, 9, 0, 9, 3])).scores([np.array([1]), np.array([2, 2])])

    assert scores.dtype == np.float32
    for row in scores:
        assert len(set(row.tolist())) == 5
        assert np.argsort(-row).tolist() == [1, 3, 0, 4, 2]


def test_scores_may_be_written_into() -> None:
    popular = Popular(np.array([1, 2]))
    popular.scores([np.array([0])])[:] = -np.inf

    assert popular.scores([np.array([0])]).argmax() == 1
