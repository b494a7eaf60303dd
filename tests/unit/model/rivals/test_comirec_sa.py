"""ComiRec-SA's equations against plain loops."""

import torch

from model.rivals.comirec_sa import ComiRecSa
from tests.padded import history_of
from tests.rivals import DIM, K, new_rival


def test_interest_is_the_sum_of_items_weighted_by_its_attention() -> None:
    rival = new_rival(ComiRecSa)
    assert isinstance(rival, ComiRecSa)
    vectors, ages = torch.randn(3, DIM), [7, 2, 0]

    found = rival.encode(history_of(vectors, ages))[0]

    for j in range(K):
        scores = []
        for vector, age in zip(vectors, ages, strict=True):
            hidden = rival.hidden.weight @ (vector + rival.positions[age]) + rival.hidden.bias
            scores.append(rival.heads.weight[j] @ hidden.tanh())
        weights = torch.stack(scores).exp()
        weights = weights / weights.sum()
        expected = sum(weight * vector for weight, vector in zip(weights, vectors, strict=True))
        torch.testing.assert_close(found[j], expected)


def test_attention_counts_from_the_newest_interaction() -> None:
    """One more interaction at the old end leaves the relative weights of the others."""
    rival = new_rival(ComiRecSa)
    newest = torch.eye(DIM)[:2]
    with_older = torch.cat([torch.eye(DIM)[5:6], newest])

    short, long = (rival.encode(history_of(each))[0] for each in (newest, with_older))

    torch.testing.assert_close(short[:, 0] / short[:, 1], long[:, 0] / long[:, 1])
