"""The GRU over sub-sequences of all lengths at once, against torch's over each alone."""

import numpy as np
import pytest
import torch

from model.arrays import Floats, Rows
from model.evolution import EvolutionNetwork

DIM = 12
K = 4


@pytest.fixture
def modules() -> tuple[torch.nn.GRU, torch.nn.Linear]:
    torch.manual_seed(0)
    return torch.nn.GRU(DIM, DIM, bias=False), torch.nn.Linear(DIM, DIM)


@pytest.fixture
def network(modules: tuple[torch.nn.GRU, torch.nn.Linear]) -> EvolutionNetwork:
    gru, head = modules
    weights = gru.state_dict()
    return EvolutionNetwork(
        weight_ih=weights["weight_ih_l0"].numpy(),
        weight_hh=weights["weight_hh_l0"].numpy(),
        head_weight=head.weight.detach().numpy(),
        head_bias=head.bias.detach().numpy(),
    )


def evolve(network: EvolutionNetwork, users: list[tuple[Floats, Rows]]) -> Floats:
    """Evolve users, given the embeddings and the interest of each of their interactions."""
    ends = np.cumsum([len(interests) for _, interests in users])
    slices = [slice(end - len(user[1]), end) for end, user in zip(ends, users, strict=True)]
    return network.evolve(
        np.concatenate([embeddings for embeddings, _ in users]),
        slices,
        np.concatenate([number * K + user[1] for number, user in enumerate(users)]),
        np.array([np.bincount(interests, minlength=K) for _, interests in users]),
    )


def draw(length: int, seed: int) -> tuple[Floats, Rows]:
    random = np.random.default_rng(seed)
    # Few in the last interests: sub-sequences of many lengths, some of none.
    interests = np.minimum(random.geometric(0.6, size=length) - 1, K - 1)
    return random.normal(size=(length, DIM)).astype(np.float32), interests


def test_every_sub_sequence_evolves_as_in_torch(
    network: EvolutionNetwork, modules: tuple[torch.nn.GRU, torch.nn.Linear]
) -> None:
    gru, head = modules
    users = [draw(length, seed) for seed, length in enumerate((7, 0, 1, 30, 12, 7))]
    evolved = evolve(network, users)

    assert evolved.shape == (len(users), K, DIM)
    assert evolved.dtype == np.float32
    n_compared = 0
    for user, (embeddings, interests) in enumerate(users):
        for j in range(K):
            own = embeddings[interests == j]
            if len(own):
                with torch.no_grad():
                    state = gru(torch.from_numpy(own))[1][0]
                    expected = torch.relu(head(state)).numpy()
                np.testing.assert_allclose(evolved[user, j], expected, rtol=0, atol=1e-6)
                n_compared += 1
    assert n_compared > 10


def test_strong_inputs_neither_overflow_nor_warn(network: EvolutionNetwork) -> None:
    embeddings, interests = draw(20, seed=3)

    assert np.isfinite(evolve(network, [(1e4 * embeddings, interests)])).all()


def test_users_without_interactions_need_no_step(network: EvolutionNetwork) -> None:
    assert evolve(network, [draw(0, 0), draw(0, 1)]).shape == (2, K, DIM)
