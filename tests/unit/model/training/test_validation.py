"""How an encoder in training is measured."""

import numpy as np
import pytest
import torch

from model import evaluation
from model.data.dataset import Dataset
from model.encoder import Stage
from model.evaluation import evaluate_scores, score_by_interests
from model.opal import OpalEncoder
from model.training.validation import (
    evaluate_by_lengths,
    evaluate_encoder,
    hyper_category_shares,
    merit,
)


def encoder_of(dataset: Dataset) -> OpalEncoder:
    torch.manual_seed(3)
    encoder = OpalEncoder(n_items=dataset.n_items, n_interests=3, dim=8, temperature=0.1)
    torch.nn.init.normal_(encoder.hyper_table)  # not orthogonal: every loss has something to say
    return encoder


@pytest.mark.parametrize("stage", OpalEncoder.stages)
@pytest.mark.parametrize("max_len", [1, 3, 100])
def test_an_encoder_in_training_is_evaluated_user_by_user_alike(
    dataset: Dataset, stage: Stage, max_len: int
) -> None:
    encoder = encoder_of(dataset)
    with torch.no_grad():
        one_by_one = torch.cat(
            [
                encoder(torch.from_numpy(history[-max_len:])[None], stage).interests
                for history in dataset.test.histories
            ]
        )
        vectors = encoder.item_embeddings()
    score = score_by_interests(lambda _: one_by_one, vectors)
    expected = evaluate_scores(score, len(vectors), dataset.test.histories, dataset.test.targets)

    assert evaluate_encoder(encoder, dataset.test, stage, max_len) == pytest.approx(expected)


def test_of_equal_recall_the_order_decides() -> None:
    better, same, worse = (
        {"recall@50": recall, "ndcg@50": ndcg, "recall@20": 1 - ndcg}
        for recall, ndcg in ((0.5, 0.1), (0.4, 0.3), (0.4, 0.2))
    )

    assert sorted([worse, better, same], key=merit) == [worse, same, better]


def test_shares_are_those_of_interactions_not_of_items(dataset: Dataset) -> None:
    encoder = encoder_of(dataset)
    with torch.no_grad():
        nearest = (encoder.item_embeddings() @ encoder.hyper_categories().T).argmax(1).numpy()
    interactions = np.zeros(dataset.n_items, dtype=np.int64)
    interactions[:3] = 3, 1, 1
    expected = np.bincount(nearest[[0, 0, 0, 1, 2]], minlength=3) / 5

    assert hyper_category_shares(encoder, interactions) == pytest.approx(expected.tolist())


def test_learned_terms_are_those_of_the_equations() -> None:
    encoder = OpalEncoder(
        n_items=5, n_interests=2, dim=4, temperature=0.05, score_temperature=0.3, evolution=0.2
    )

    assert encoder.learned_terms() == pytest.approx(
        {"temperature": 0.3, "recency": 0.0, "evolution": 0.2}
    )


@pytest.mark.parametrize("stage", OpalEncoder.stages)
def test_several_lengths_at_once_are_evaluated_as_each_alone(
    dataset: Dataset, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_MAX_USERS", 7)
    encoder, random = encoder_of(dataset), np.random.default_rng(6)
    drawn = random.uniform(0.2, 1, size=(3, dataset.n_items)).astype(np.float32)
    found = evaluate_by_lengths(encoder, dataset.test, stage, 5, [np.ones_like(drawn[0]), *drawn])

    together = [{name: values.mean() for name, values in each.items()} for each in found]
    alone = [evaluate_encoder(encoder, dataset.test, stage, 5, each) for each in (None, *drawn)]
    assert together == [
        pytest.approx({name: value for name, value in each.items() if name != "users"})
        for each in alone
    ]
    assert len({each["recall@20"] for each in together}) > 1, "else lengths changed nothing"
