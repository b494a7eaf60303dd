"""MIND's own parts; routing itself is tested with the capsules."""

import numpy as np
import pytest
import torch

from model.rivals.capsules import route
from model.rivals.mind import Mind
from tests.padded import history_of
from tests.rivals import DIM, K, exported, load, new_rival, ragged


def mind() -> Mind:
    rival = new_rival(Mind)
    assert isinstance(rival, Mind)
    return rival


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (10, 3)]
)
def test_interests_in_use_follow_the_length_of_the_history(length: int, expected: int) -> None:
    """K' = max(1, min(k, ⌊log2 length⌋))."""
    rival = mind()

    found = rival.encode(history_of(torch.randn(length, DIM)))[0]
    served = load(*exported(rival)).encode(ragged([length])[0])

    assert len(np.unique(found.detach().numpy(), axis=0)) == expected
    assert len(np.unique(served.vectors, axis=0)) == expected
    assert (served.weights > 0).sum() == expected
    assert (found[expected:] == found[0]).all()


def test_a_history_has_as_many_interests_when_training_drops_a_part_of_it() -> None:
    found = mind().encode(history_of(torch.randn(3, DIM), [7, 4, 0]))[0]

    assert len(np.unique(found.detach().numpy(), axis=0)) == 3


def test_interests_are_capsules_behind_two_layers() -> None:
    rival = mind()
    vectors, ages = torch.randn(8, DIM), [9, 8, 6, 5, 4, 2, 1, 0]
    start = rival.routing_start[torch.tensor(ages), :3]
    capsules = route(vectors[None], start[None], rival.bilinear[None])[0]

    found = rival.encode(history_of(vectors, ages))[0]

    for j, capsule in enumerate(capsules):
        hidden = (rival.wide.weight @ capsule + rival.wide.bias).clamp(min=0)
        torch.testing.assert_close(found[j], rival.narrow.weight @ hidden + rival.narrow.bias)


def test_layers_start_as_the_identity() -> None:
    rival = Mind(
        n_items=3,
        n_interests=K,
        dim=DIM,
        max_len=4,
        temperature=1.0,
        learn_temperature=False,
        unit_vectors=False,
        sparse_gradients=False,
    )
    vectors = torch.randn(5, DIM)

    torch.testing.assert_close(rival.narrow(rival.wide(vectors).relu()), vectors)


def test_routing_starts_from_numbers_that_belong_to_the_model() -> None:
    """The same history gives the same interests, in training too, and after a restart."""
    rival = mind()
    history = history_of(torch.randn(9, DIM))

    assert (rival.encode(history) == rival.encode(history)).all()
    assert "routing_start" in rival.state_dict()
    assert not rival.routing_start.requires_grad
