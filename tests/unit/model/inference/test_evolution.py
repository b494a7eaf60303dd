"""The GRU over sub-sequences of all lengths at once, against torch's over each alone."""

import numpy as np
import pytest
import torch

from model.arrays import Floats, Rows
from model.inference.evolution import EvolutionNetwork, Head, SubSequences

DIM = 12
K = 4


@pytest.fixture
def gru() -> torch.nn.GRU:
    torch.manual_seed(0)
    return torch.nn.GRU(DIM, DIM, bias=False)


@pytest.fixture
def network(gru: torch.nn.GRU) -> EvolutionNetwork:
    weights = gru.state_dict()
    return EvolutionNetwork(
        weight_ih=weights["weight_ih_l0"].numpy(),
        weight_hh=weights["weight_hh_l0"].numpy(),
    )


def evolve(network: EvolutionNetwork, users: list[tuple[Floats, Rows]]) -> Floats:
    """Evolve users, given the embeddings and the interest of each of their interactions."""
    ends = np.cumsum([len(interests) for _, interests in users])
    slices = [slice(end - len(user[1]), end) for end, user in zip(ends, users, strict=True)]
    embeddings = np.concatenate([embeddings for embeddings, _ in users])
    read = SubSequences(
        np.arange(len(embeddings)),
        np.concatenate([number * K + user[1] for number, user in enumerate(users)]),
        np.concatenate([np.bincount(interests, minlength=K) for _, interests in users]),
    )
    (states,) = network.evolve(embeddings, slices, [read])
    return states.reshape(len(users), K, DIM)


def draw(length: int, seed: int) -> tuple[Floats, Rows]:
    random = np.random.default_rng(seed)
    # Few in the last interests: sub-sequences of many lengths, some of none.
    interests = np.minimum(random.geometric(0.6, size=length) - 1, K - 1)
    return random.normal(size=(length, DIM)).astype(np.float32), interests


def test_every_sub_sequence_evolves_as_in_torch(
    network: EvolutionNetwork, gru: torch.nn.GRU
) -> None:
    users = [draw(length, seed) for seed, length in enumerate((7, 0, 1, 30, 12, 7))]
    evolved = evolve(network, users)

    assert evolved.dtype == np.float32
    n_compared = 0
    for user, (embeddings, interests) in enumerate(users):
        for j in range(K):
            own = embeddings[interests == j]
            if len(own):
                with torch.no_grad():
                    expected = gru(torch.from_numpy(own))[1][0].numpy()
                np.testing.assert_allclose(evolved[user, j], expected, rtol=0, atol=1e-6)
                n_compared += 1
            else:
                assert not evolved[user, j].any()
    assert n_compared > 10


def test_strong_inputs_neither_overflow_nor_warn(network: EvolutionNetwork) -> None:
    embeddings, interests = draw(20, seed=3)

    assert np.isfinite(evolve(network, [(1e4 * embeddings, interests)])).all()


def test_users_without_interactions_need_no_step(network: EvolutionNetwork) -> None:
    assert evolve(network, [draw(0, 0), draw(0, 1)]).shape == (2, K, DIM)


def test_several_kinds_of_sub_sequences_are_read_of_the_same_interactions(
    network: EvolutionNetwork,
) -> None:
    embeddings, interests = draw(9, seed=5)
    by_interest = SubSequences(np.arange(9), interests, np.bincount(interests, minlength=K))
    newest = SubSequences(np.arange(5, 9), np.zeros(4, dtype=np.int64), np.array([4]))

    both = network.evolve(embeddings, [slice(0, 9)], [by_interest, newest])

    for kind, states in zip((by_interest, newest), both, strict=True):
        (alone,) = network.evolve(embeddings, [slice(0, 9)], [kind])
        np.testing.assert_array_equal(states, alone)
    assert both[1].any()


def test_a_head_is_linear_over_each_state() -> None:
    torch.manual_seed(0)
    linear, states = torch.nn.Linear(DIM, DIM), torch.randn(3, K, DIM)
    head = Head(weight=linear.weight.detach().numpy(), bias=linear.bias.detach().numpy())

    np.testing.assert_allclose(head(states.numpy()), linear(states).detach(), rtol=0, atol=1e-6)
