"""ComiRec-DR's own parts; routing itself is tested with the capsules."""

import torch

from model.rivals.capsules import route
from model.rivals.comirec_dr import ComiRecDr
from tests.padded import history_of
from tests.rivals import DIM, K, new_rival


def test_interests_are_routed_from_logits_of_0_with_a_map_each() -> None:
    rival = new_rival(ComiRecDr)
    assert isinstance(rival, ComiRecDr)
    vectors, ages = torch.randn(4, DIM), [9, 5, 2, 0]
    gains = rival.gains[ages]
    expected = route(vectors[None], torch.zeros(1, 4, K), rival.maps, gains[None])

    torch.testing.assert_close(rival.encode(history_of(vectors, ages)), expected)


def test_interests_differ_from_the_start() -> None:
    torch.manual_seed(0)
    rival = ComiRecDr(
        n_items=3,
        n_interests=K,
        dim=DIM,
        max_len=4,
        temperature=1.0,
        learn_temperature=False,
        unit_vectors=False,
        sparse_gradients=False,
    )

    found = rival.encode(history_of(torch.eye(DIM)[:4]))[0]

    assert torch.pdist(found).min() > 0.05
