"""The loss of a training step against its terms, over batches as they are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config.loss_weights import LossWeights
from model.config.training_config import Recipe, TrainingConfig
from model.data.dataset import Dataset
from model.data.histories import PADDING, BatchSampler, TrainingBatch
from model.data.negatives import EvenNegatives
from model.encoder import Stage, normalize
from model.layers import next_item
from model.layers.interests import EncodedHistories
from model.layers.losses import hard_assignment, orthogonality_loss, uniformity_loss, unique_loss
from model.opal import OpalEncoder
from model.training.learner import total_loss
from model.training.recipe import new_sampler
from tests.opal import new_opal

STAGES: tuple[Stage, Stage] = ("soft", "hard")
CONFIG = TrainingConfig.for_recipe("paper", {"k": 3, "dim": 8})
NO_OTHER_LOSSES = LossWeights(orthogonality=0, uniformity=0, unique=0)

# With few users a batch holds less than the catalog, with many it holds more: the distinct items
# are found in different ways.
every_batch = pytest.mark.parametrize("batch_size", [4, 40])
every_stage = pytest.mark.parametrize("stage", STAGES)


def batch_of(dataset: Dataset, batch_size: int, *, horizon: float | None = None) -> TrainingBatch:
    return BatchSampler(
        items=dataset.items,
        begin=dataset.offsets[:-1],
        end=dataset.train_end,
        n_items=dataset.n_items,
        max_len=10,
        batch_size=batch_size,
        negatives=EvenNegatives(dataset.n_items, 16),
        horizon=horizon,
    ).draw(np.random.default_rng(0))


def encoder_of(dataset: Dataset) -> OpalEncoder:
    torch.manual_seed(3)
    encoder = OpalEncoder(
        n_items=dataset.n_items, n_interests=3, dim=8, temperature=0.1, score_temperature=0.3
    )
    torch.nn.init.normal_(encoder.hyper_table)  # not orthogonal: every loss has something to say
    return encoder


@torch.no_grad()
def encode_padded(encoder: OpalEncoder, batch: TrainingBatch, stage: Stage) -> EncodedHistories:
    """Encode a batch's histories as an evaluation does."""
    padded = np.full((len(batch.lengths), batch.lengths.max()), PADDING)
    padded[np.arange(padded.shape[1]) < batch.lengths[:, None]] = batch.items[batch.histories]
    encoded: EncodedHistories = encoder(torch.from_numpy(padded), stage)
    return encoded


@every_stage
@every_batch
def test_the_loss_is_the_weighted_sum_of_all_its_terms(
    dataset: Dataset, stage: Stage, batch_size: int
) -> None:
    encoder, batch = encoder_of(dataset), batch_of(dataset, batch_size)

    def loss(weights: LossWeights) -> float:
        config = replace(CONFIG, loss_weights=weights)
        return total_loss(encoder.losses(batch, stage, config)).item()

    with torch.no_grad():
        _, a, n, _ = encode_padded(encoder, batch, stage)
        orthogonality = orthogonality_loss(encoder.hyper_categories()).item()
        uniformity = uniformity_loss(a, n).item()
        unique = unique_loss(a, n).item() if stage == "hard" else 0.0
        if stage == "hard":
            uniformity += uniformity_loss(hard_assignment(a), n).item()
    future = loss(NO_OTHER_LOSSES)

    assert min(future, orthogonality, uniformity) > 0
    expected = future + 7 * orthogonality + 5 * uniformity + 3 * unique
    assert loss(LossWeights(orthogonality=7, uniformity=5, unique=3)) == pytest.approx(
        expected, rel=1e-5
    )


@every_stage
@every_batch
@pytest.mark.parametrize("horizon", [None, 0.3])
def test_future_item_prediction_is_its_equation(
    dataset: Dataset, stage: Stage, batch_size: int, horizon: float | None
) -> None:
    encoder, batch = encoder_of(dataset), batch_of(dataset, batch_size, horizon=horizon)
    config = replace(CONFIG, loss_weights=NO_OTHER_LOSSES)
    z = encode_padded(encoder, batch, stage).interests.numpy().astype(float)
    e = encoder.item_embeddings().detach().numpy().astype(float)

    losses = []
    for user in range(batch_size):
        positives = batch.positives[batch.owners == user]
        own_future = batch.own_future[1][batch.own_future[0] == user]
        negatives = np.delete(batch.negatives, np.unique(own_future))
        scores = (z[user] @ e[batch.items[[*positives, *negatives]]].T).max(0) / 0.3
        log_softmax = scores - np.log(np.exp(scores).sum())
        losses.append(-log_softmax[: len(positives)].mean())
    assert total_loss(encoder.losses(batch, stage, config)).item() == pytest.approx(np.mean(losses))


@every_stage
def test_weighted_negatives_count_by_their_weight(dataset: Dataset, stage: Stage) -> None:
    encoder, batch = encoder_of(dataset), batch_of(dataset, 4)
    config = replace(CONFIG, loss_weights=NO_OTHER_LOSSES)
    light, unweighted, heavy = (
        replace(batch, log_weights=None if log is None else np.full(16, log, dtype=np.float32))
        for log in (-50.0, None, np.log(3.0))
    )
    losses = [
        total_loss(encoder.losses(each, stage, config)).item()
        for each in (light, unweighted, heavy)
    ]

    assert losses[0] == pytest.approx(0, abs=1e-6)  # nothing competes with the positive
    # Σ over negatives, threefold: e^loss − 1 for one user; between for the mean of several.
    assert losses[1] < losses[2] < losses[1] + np.log(3)


@every_stage
@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_every_learned_number_has_the_gradient_of_finite_differences(
    dataset: Dataset, stage: Stage, recipe: Recipe
) -> None:
    config = TrainingConfig.for_recipe(
        recipe, {"k": 3, "dim": 8, "batch_size": 6, "start": "random", "attention": True}
    )
    encoder = new_opal(dataset, config, dataset.train_end)
    torch.nn.init.ones_(encoder.head.bias)  # away from the kinks of the ReLU
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))

    def loss() -> Tensor:
        torch.manual_seed(0)  # what is dropped, and at which positions the next item is predicted
        return total_loss(encoder.losses(batch, stage, config))

    loss().backward()  # type: ignore[no-untyped-call]
    learned = {name for name, value in encoder.named_parameters() if value.grad is not None}
    for name, value in encoder.named_parameters():
        if value.grad is None:
            continue
        # Along the gradient, where the loss changes most: it is of single precision.
        length = value.grad.norm()
        start, step = value.detach().clone(), 1e-3 * value.grad / length
        losses = []
        for way in (step, -step):
            with torch.no_grad():
                value.copy_(start + way)
                losses.append(loss().item())
                value.copy_(start)
        assert (losses[0] - losses[1]) / 2e-3 == pytest.approx(length.item(), rel=0.02, abs=2e-3), (
            name
        )

    names = {name for name, _ in encoder.named_parameters()}
    scalars = {"log_score_temperature", "recency"} if recipe == "default" else set()
    soft = {"item_table", "hyper_table", *scalars}
    hard = {name for name in names if name.startswith(("gru.", "head."))}
    if recipe == "default":
        hard.add("evolution_logit")
        soft |= {name for name in names if name.startswith(("gru.", "general."))}
    assert learned == (soft | hard if stage == "hard" else soft)


@every_stage
def test_the_general_interest_learns_the_next_item_after_each_interaction(
    dataset: Dataset, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_item, "POSITIONS_PER_USER", 9)  # all of them
    torch.manual_seed(3)
    encoder = OpalEncoder(
        n_items=dataset.n_items, n_interests=3, dim=8, temperature=0.1, general=0.4, general_len=20
    )
    drawn, random = batch_of(dataset, 4), np.random.default_rng(1)
    lengths = np.array([26, 1, 5, 2])
    rows = random.integers(len(drawn.items), size=lengths.sum())
    weights = random.normal(size=len(drawn.negatives)).astype(np.float32)
    batch = replace(
        drawn,
        histories=rows,
        lengths=lengths,
        ages=np.concatenate([np.arange(length)[::-1] for length in lengths]),
        by_item=rows.argsort(),
        log_weights=weights,
    )
    assert encoder.general is not None

    found = encoder.losses(batch, stage, replace(CONFIG, next_item=0.5))["next_item"]

    e, losses = encoder.item_embeddings(), []
    for history in np.split(batch.items[rows], lengths.cumsum()[:-1]):
        recent = history[-20:]
        for t in range(1, len(recent)):
            _, state = encoder.gru(e[recent[:t]])
            general = normalize(encoder.general.head(state[0]))
            scores = [general @ e[recent[t]] / 0.1]
            for negative, weight in zip(batch.items[batch.negatives], weights, strict=True):
                if negative != recent[t]:
                    scores.append(general @ e[negative] / 0.1 + weight)
            losses.append(torch.stack(scores).logsumexp(0) - scores[0])
    assert len(losses) == 19 + 4 + 1
    torch.testing.assert_close(found, torch.stack(losses).mean() / 2)
    assert "next_item" not in encoder.losses(batch, stage, replace(CONFIG, next_item=0.0))


@every_stage
def test_a_step_moves_no_item_but_those_of_its_batch(dataset: Dataset, stage: Stage) -> None:
    encoder, batch = encoder_of(dataset), batch_of(dataset, 4)
    total_loss(encoder.losses(batch, stage, CONFIG)).backward()  # type: ignore[no-untyped-call]
    assert encoder.item_table.grad is not None

    moved = encoder.item_table.grad.any(1).nonzero().flatten()
    assert 0 < len(moved) < dataset.n_items
    assert set(moved.tolist()) <= set(batch.items.tolist())
