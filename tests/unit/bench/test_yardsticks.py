"""A ratio means something only where both sides do the same: same loss, same answer."""

from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from index.bundles.bundle import open_bundle
from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset, prepare
from model.data.histories import TrainingBatch
from model.encoder import Stage
from model.opal import OpalEncoder
from model.training.learner import total_loss
from service.answering.matching import match
from service.api.query import Query
from tests.bench.plain_match import PlainMatcher
from tests.bench.plain_training import PlainTraining
from tests.bench.synthetic import draw_histories, make_bundle, to_ids
from tests.bundles import hyper_categories_of
from tests.planted import PlantedLog

CONFIG = TrainingConfig.for_recipe("paper", {"k": 4, "dim": 16, "batch_size": 32})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    interactions, _ = PlantedLog(n_users=50).write(tmp_path)
    prepare(interactions, tmp_path / "dataset")
    return Dataset.open(tmp_path / "dataset")


@pytest.mark.parametrize("stage", ["soft", "hard"])
def test_the_plain_step_has_our_loss_and_our_gradients(dataset: Dataset, stage: Stage) -> None:
    torch.manual_seed(0)
    encoder = OpalEncoder(n_items=dataset.n_items, n_interests=4, dim=16, temperature=0.1)
    plain = PlainTraining(dataset, CONFIG, encoder, max_len=20)
    batch = plain.draw()
    histories = batch.histories[batch.is_item].numpy()
    same = TrainingBatch(
        items=np.arange(dataset.n_items),
        histories=histories,
        lengths=batch.is_item.sum(1).numpy(),
        ages=np.zeros_like(histories),  # the paper's equations do not know them
        by_item=np.argsort(histories),
        positives=batch.positives.numpy(),
        owners=np.arange(len(batch.positives)),
        negatives=batch.negatives.numpy(),
        log_weights=None,
        own_future=np.stack(np.nonzero(~batch.is_negative.numpy())),
    )

    losses = plain.loss(batch, stage), total_loss(encoder.losses(same, stage, CONFIG))
    learned = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    gradients = [torch.autograd.grad(loss, learned, allow_unused=True) for loss in losses]

    torch.testing.assert_close(losses[0], losses[1])
    for theirs, ours in zip(*gradients, strict=True):
        if ours is None:
            assert theirs is None
        else:
            torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-5)


def test_the_synthetic_hyper_categories_are_orthonormal_after_reading(tmp_path: Path) -> None:
    hyper_categories = hyper_categories_of(
        open_bundle(make_bundle(tmp_path, n_items=200, k=4)).encoder
    )

    np.testing.assert_allclose(hyper_categories @ hyper_categories.T, np.eye(4), atol=1e-5)


def test_plain_retrieval_gives_our_interests_and_our_answer(tmp_path: Path) -> None:
    path = make_bundle(tmp_path, n_items=300, k=4)
    bundle, plain = open_bundle(path), PlainMatcher(path)
    for history in draw_histories(5, n_items=300, k=4):
        item_ids = to_ids(history)
        answer = match(bundle, Query(history=tuple(item_ids), top_k=30)).stored
        ours = orjson.loads(answer)["candidates"]
        theirs = plain.match(item_ids, 30)

        np.testing.assert_allclose(
            plain.encode(history.tolist()), bundle.encoder.encode(history).vectors, atol=1e-5
        )
        np.testing.assert_allclose(
            [each.score for each in theirs], [each["score"] for each in ours], atol=1e-5
        )
        assert not {each.item_id for each in theirs} & set(item_ids)
