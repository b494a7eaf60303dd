"""Octopus's equations against plain loops, and its channels."""

import numpy as np
import torch

from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.rivals.octopus import Octopus
from model.rivals.rival import MAIN
from model.training.recipe import new_sampler
from tests.padded import history_of
from tests.rivals import DIM, MAX_LEN, K, exported, load, new_rival, ragged


def octopus() -> Octopus:
    rival = new_rival(Octopus)
    assert isinstance(rival, Octopus)
    return rival


def test_interest_is_the_attentive_sum_of_what_its_channel_holds() -> None:
    rival = octopus()
    vectors = torch.randn(9, DIM)
    channel = [int((rival.channels @ vector).argmax()) for vector in vectors]
    fullest = max(range(K), key=lambda j: (channel.count(j), -j))

    found = rival.encode(history_of(vectors))[0]

    for j in range(K):
        source = j if j in channel else fullest
        own = vectors[[place for place, other in enumerate(channel) if other == source]]
        scores = [rival.channels[source] @ (rival.attention @ vector) for vector in own]
        weights = torch.stack(scores).exp()
        torch.testing.assert_close(found[j], (weights / weights.sum()) @ own)


def test_only_channels_that_hold_something_are_active() -> None:
    rival = octopus()
    with torch.no_grad():
        rival.channels.copy_(torch.eye(DIM)[:K])
    vectors = torch.eye(DIM)[[1, 3, 1]]

    found = rival.encode(history_of(vectors))[0]

    torch.testing.assert_close(found, torch.eye(DIM)[[1, 1, 1, 3]])


def test_served_assignment_is_the_channel() -> None:
    rival = octopus()
    (history,) = ragged([MAX_LEN])

    served = load(*exported(rival)).encode(history)

    fits = rival.item_embeddings()[history] @ rival.channels.T
    assert (served.assignment.argmax(axis=1) == fits.argmax(dim=1).numpy()).all()
    assert (served.assignment.max(axis=1) == 1).all()


def test_large_attention_stays_finite() -> None:
    rival = octopus()
    with torch.no_grad():
        rival.attention.mul_(1e4)

    assert rival.encode(history_of(torch.randn(6, DIM))).isfinite().all()


def test_channels_start_orthonormal_with_or_without_item_vectors() -> None:
    sizes = {"n_items": 40, "n_interests": K, "dim": DIM, "max_len": 4}
    fixed = {"temperature": 1.0, "learn_temperature": False, "sparse_gradients": False}
    rival = Octopus(**sizes, **fixed, unit_vectors=True)
    drawn = rival.channels.detach().clone()
    random = np.random.default_rng(0)
    rival.start_from(random.standard_normal((40, DIM), dtype=np.float32), random)

    for channels in (drawn, rival.channels):
        torch.testing.assert_close(channels @ channels.T, torch.eye(K), rtol=0, atol=1e-5)
    assert not torch.allclose(drawn, rival.channels)


def test_own_losses_are_orthogonality_and_reconstruction(dataset: Dataset) -> None:
    config = TrainingConfig(k=K, dim=DIM, batch_size=16, max_len=MAX_LEN)
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))
    torch.manual_seed(0)
    rival = Octopus(
        n_items=dataset.n_items,
        n_interests=K,
        dim=DIM,
        max_len=MAX_LEN,
        temperature=0.1,
        learn_temperature=True,
        unit_vectors=True,
        sparse_gradients=False,
    )
    channels = rival.channels
    missed = [
        (e - sum(h.dot(e) * h for h in channels)).square().sum()
        for e in rival.item_embeddings()[batch.items[batch.histories]]
    ]

    losses = rival.losses(batch, MAIN, config)

    torch.testing.assert_close(losses["reconstruction"], torch.stack(missed).mean())
    losses["reconstruction"].backward()  # type: ignore[no-untyped-call]
    assert rival.item_table.grad is None or not rival.item_table.grad.any()
    with torch.no_grad():
        channels.mul_(2)
    expected = 10 * K * 3**2 / K**2  # ‖4 I − I‖² / k², times the weight
    torch.testing.assert_close(
        rival.losses(batch, MAIN, config)["orthogonality"], torch.tensor(expected)
    )
