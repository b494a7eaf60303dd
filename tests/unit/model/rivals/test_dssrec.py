"""DSSRec's equations and losses against plain loops."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.config.training_config import Recipe, TrainingConfig
from model.data.dataset import Dataset
from model.rivals import dssrec as module
from model.rivals.batch import RivalBatch, read_batch
from model.rivals.dssrec import DssRec, futures, next_only, sequence_loss
from model.rivals.rival import MAIN
from model.training.recipe import new_encoder, new_sampler
from tests.padded import history_of
from tests.rivals import DIM, K, exported, load, new_rival, ragged


def dssrec() -> DssRec:
    rival = new_rival(DssRec).eval()
    assert isinstance(rival, DssRec)
    return rival


def test_intentions_are_those_of_a_loop() -> None:
    rival = dssrec()
    vectors, ages = torch.randn(4, DIM), [6, 3, 1, 0]
    states = rival.transformer(history_of(vectors, ages).laid_out())

    def likeness(first: Tensor, second: Tensor) -> Tensor:
        score: Tensor = first @ second / DIM**0.5
        return score.exp()

    clusters, keys = [], []
    for state, age in zip(states, ages, strict=True):
        shares = torch.stack(
            [
                likeness(rival.state_norm(state), rival.prototype_norm(prototype))
                for prototype in rival.prototypes
            ]
        )
        clusters.append(shares / shares.sum())
        key = rival.key_norm(state + rival.weight_positions[age])
        keys.append(key + rival.key(key).relu())
    query = rival.query_norm(states[-1] + rival.weight_positions[0] + rival.query_bias)
    weights = torch.stack([likeness(key, query) for key in keys])
    weights = weights / weights.sum()

    found = rival.encode(history_of(vectors, ages))[0]

    for j in range(K):
        total = rival.history_bias[j]
        for state, cluster, weight in zip(states, clusters, weights, strict=True):
            total = total + cluster[j] * weight * state
        torch.testing.assert_close(found[j], rival.intention_norm(total))


def test_served_shares_are_the_intentions_of_each_interaction() -> None:
    rival = dssrec()
    (history,) = ragged([5])

    served = load(*exported(rival)).encode(history)

    states = rival.transformer(history_of(rival.embed(torch.from_numpy(history))).laid_out())
    logits = rival.state_norm(states) @ rival.prototype_norm(rival.prototypes).T / DIM**0.5
    np.testing.assert_allclose(served.assignment, logits.softmax(1).detach(), atol=1e-5)


def test_futures_have_a_bias_of_their_own_which_is_not_served() -> None:
    rival = dssrec()
    tensors, _ = exported(rival)

    assert "future_bias" not in tensors
    assert "history_bias" in tensors


@pytest.mark.parametrize("share", [0.5, 1.0, 0.01])
def test_sequence_loss_is_the_mean_of_the_smallest_of_a_loop(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIDENT_SHARE", share)
    torch.manual_seed(0)
    history, future = torch.randn(3, 2, DIM), torch.randn(3, 2, DIM)
    losses = []
    for u in range(3):
        for j in range(2):
            scores = [history[u, j] @ future[v, other] for v in range(3) for other in range(2)]
            scores = [(score / DIM**0.5).exp() for score in scores]
            losses.append(-(scores[2 * u + j] / sum(scores)).log())

    kept = sorted(losses, key=float)[: max(1, int(share * 6))]

    torch.testing.assert_close(sequence_loss(history, future), torch.stack(kept).mean())


def batch_of(positives: list[list[int]]) -> RivalBatch:
    owners = [user for user, items in enumerate(positives) for _ in items]
    vectors = torch.tensor([[float(item)] for items in positives for item in items])
    is_item = torch.ones(len(positives), 1, dtype=torch.bool)
    histories = history_of(torch.zeros(1, 1))._replace(is_item=is_item)
    nothing = torch.zeros(0, 1)
    own_future = torch.zeros(2, 0, dtype=torch.int64)
    no_rows = torch.zeros(0, dtype=torch.int64)
    return RivalBatch(
        histories,
        vectors,
        torch.tensor(owners),
        nothing,
        None,
        own_future,
        nothing,
        no_rows,
        no_rows,
        torch.arange(len(owners)),
        no_rows,
    )


def test_a_future_lies_backwards_its_next_item_newest() -> None:
    vectors, is_item, ages = futures(batch_of([[5, 6, 7, 8], [9], [3, 4], [2]]), 3, max_len=3)

    assert vectors[:, :, 0].tolist() == [[7, 6, 5], [9, 0, 0], [4, 3, 0]]
    assert ages.tolist() == [[2, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert is_item.sum(1).tolist() == [3, 1, 2]


def test_the_next_items_alone_are_each_users_first() -> None:
    batch = next_only(batch_of([[5, 6, 7], [9], [3, 4]]))

    assert batch.positives[:, 0].tolist() == [5, 9, 3]
    assert batch.owners.tolist() == [0, 1, 2]


@pytest.mark.parametrize("recipe", ["paper", "default"])
def test_the_papers_recipe_predicts_the_next_item_of_the_whole_future(
    dataset: Dataset, recipe: Recipe
) -> None:
    options = {"k": 3, "dim": 8, "batch_size": 32, "max_len": 10}
    config = TrainingConfig.for_recipe(recipe, options, model="dssrec")
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))
    rival = new_encoder(dataset, config, dataset.train_end)
    assert isinstance(rival, DssRec)
    for part in rival.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0

    found = rival.losses(batch, MAIN, config)

    on_device = read_batch(batch, rival)
    interests = rival._sized(rival.encode(on_device.histories))
    predicted = next_only(on_device) if recipe == "paper" else on_device
    expected = rival.best_interest_loss(predicted, interests)
    torch.testing.assert_close(found["prediction"], expected)
    extra = set() if recipe == "paper" else {"next_item"}
    assert set(found) == {"prediction", "sequence"} | extra
    assert np.bincount(batch.owners).max() > 1, "more than the next item lies ahead"
