"""An item's nearest neighbours against a loop over users, and vectors that lean on them."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.data.neighbours import N_NEIGHBOURS, SHRINKAGE, Neighbours, nearest_neighbours
from model.encoder import TrainableEncoder
from model.model_names import SINGLE_VECTOR_RIVALS, TRAINABLE_MODELS
from model.training.recipe import new_encoder, new_sampler
from tests.logs import draw_log, lay_out

SMALL: dict[str, Any] = {"k": 3, "dim": 8, "batch_size": 16, "n_negatives": 4}


def neighbours_of(sequences: list[list[int]], n_items: int) -> Neighbours:
    return nearest_neighbours(*lay_out(sequences), n_items=n_items)


def slow_similarity(sequences: list[list[int]], n_items: int) -> np.ndarray:
    """c_vw / (√(c_v c_w) + shrinkage), pair by pair; 0 of an item with itself."""
    had = np.zeros((len(sequences), n_items))
    for user, sequence in enumerate(sequences):
        had[user, sequence] = 1
    result = np.zeros((n_items, n_items))
    for v, w in product(range(n_items), repeat=2):
        if v != w:
            size = np.sqrt(had[:, v].sum() * had[:, w].sum())
            result[v, w] = (had[:, v] * had[:, w]).sum() / (size + SHRINKAGE)
    return result


def test_neighbours_are_the_most_similar_items_and_count_by_similarity() -> None:
    log = draw_log(60)
    similarity = slow_similarity(log, 60)
    rows, weights = neighbours_of(log, 60)

    assert rows.shape == weights.shape == (60, N_NEIGHBOURS)
    for item, near in enumerate(rows):
        found = similarity[item, near]
        assert len({*near.tolist()}) == N_NEIGHBOURS
        np.testing.assert_allclose(found, np.sort(similarity[item])[::-1][:N_NEIGHBOURS], rtol=1e-5)
        np.testing.assert_allclose(weights[item], found / found.sum(), rtol=1e-5)


def test_an_item_with_few_neighbours_stands_for_the_missing_ones_without_weight() -> None:
    rows, weights = neighbours_of([[0, 1], [0, 1, 2], [3]], 5)

    assert rows[1].tolist() == [0, 2, *[1] * (N_NEIGHBOURS - 2)]
    assert weights[1, :2].sum() == pytest.approx(1)
    assert weights[1, 0] > weights[1, 1]
    assert not weights[1, 2:].any()
    for lonely in (3, 4):
        assert rows[lonely].tolist() == [lonely] * N_NEIGHBOURS
        assert not weights[lonely].any()


def test_an_item_that_a_user_has_twice_counts_once() -> None:
    once, twice = ([[0, 1], [0, 2, 3], [1, 2]], [[0, 1, 1, 0], [0, 2, 0, 3], [1, 2, 2]])

    for found, expected in zip(neighbours_of(twice, 4), neighbours_of(once, 4), strict=True):
        np.testing.assert_array_equal(found, expected)


def leaning(dataset: Dataset, model: str, weight: float | None) -> TrainableEncoder:
    given = {**SMALL, "neighbours": weight}
    if model in SINGLE_VECTOR_RIVALS:
        del given["k"]
    config = TrainingConfig.for_recipe("default", given, model=model)
    return new_encoder(dataset, config, dataset.train_end)


def expected_vectors(encoder: TrainableEncoder, near: Neighbours, weight: float) -> torch.Tensor:
    table = encoder.item_table.detach()
    held = torch.stack(
        [
            sum(
                (w * table[row] for row, w in zip(rows, weights, strict=True)),
                start=torch.zeros(table.shape[1]),
            )
            for rows, weights in zip(near.rows.tolist(), near.weights.tolist(), strict=True)
        ]
    )
    return normalize(table + weight * held, dim=-1)


@pytest.mark.parametrize("model", TRAINABLE_MODELS)
def test_vectors_of_every_model_hold_those_of_neighbours(dataset: Dataset, model: str) -> None:
    encoder = leaning(dataset, model, 0.7)
    near = nearest_neighbours(
        dataset.items, dataset.offsets[:-1], dataset.train_end, n_items=dataset.n_items
    )
    expected = expected_vectors(encoder, near, 0.7)

    torch.testing.assert_close(encoder.item_embeddings(), expected)
    rows = torch.tensor([[3, 1, 0], [1, 5, 3]])
    torch.testing.assert_close(encoder.embed(rows), expected[rows])
    exported = encoder.exported(encoder.stages[0]).tensors["item_embedding"]
    torch.testing.assert_close(torch.from_numpy(exported), expected)


def test_where_neighbours_weigh_nothing_vectors_are_their_own(dataset: Dataset) -> None:
    encoder = leaning(dataset, "opal", 0.0)

    torch.testing.assert_close(encoder.item_embeddings(), normalize(encoder.item_table, dim=-1))


def test_neighbours_are_those_of_the_training_part(dataset: Dataset) -> None:
    """Validation and test interactions must not leak into the item vectors."""
    is_train = np.zeros(len(dataset.items), dtype=bool)
    for begin, end in zip(dataset.offsets[:-1], dataset.train_end, strict=True):
        is_train[begin:end] = True
    hidden = replace(dataset, items=np.where(is_train, dataset.items, 0))
    config = TrainingConfig(**SMALL, neighbours=1.0)
    seen, blind, whole = (
        new_encoder(data, config, end).item_embeddings()
        for data, end in (
            (dataset, dataset.train_end),
            (hidden, dataset.train_end),
            (dataset, dataset.offsets[1:]),
        )
    )

    assert torch.equal(seen, blind)
    assert not torch.equal(seen, whole)


def test_gradients_reach_neighbours_and_are_the_same_sparse(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gradient() -> torch.Tensor:
        encoder = leaning(dataset, "opal", 1.0)
        towards = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
        (encoder.embed(torch.tensor([2, 6])) * towards).sum().backward()  # type: ignore[no-untyped-call]
        assert encoder.item_table.grad is not None
        return encoder.item_table.grad

    dense = gradient()
    monkeypatch.setattr("model.training.recipe.DENSE_ITEMS", 0)
    sparse = gradient()

    assert sparse.is_sparse
    torch.testing.assert_close(sparse.to_dense(), dense)
    near = leaning(dataset, "opal", 1.0)._neighbours
    assert near is not None
    assert set(dense.any(1).nonzero()[:, 0].tolist()) == {2, 6, *near[[2, 6]].flatten().tolist()}


def test_a_checkpoint_holds_no_neighbours(dataset: Dataset) -> None:
    alone, leans = (leaning(dataset, "opal", weight).state_dict() for weight in (0.0, 1.0))

    assert alone.keys() == leans.keys()


@pytest.mark.parametrize("size", ["few", "many"])
def test_neighbours_and_later_cuts_follow_from_the_number_of_users(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    if size == "many":
        monkeypatch.setattr("model.config.data_size.MANY_USERS", dataset.n_users)
    followed, off, on = (
        leaning(dataset, "opal", weight).item_embeddings() for weight in (None, 0.0, 1.0)
    )
    lengths = [
        new_sampler(dataset, TrainingConfig(**SMALL, cut_draws=draws), dataset.train_end)
        .draw(np.random.default_rng(0))
        .lengths.tolist()
        for draws in (None, 1, 2)
    ]

    assert not torch.equal(off, on)
    assert torch.equal(followed, on if size == "many" else off)
    assert lengths[1] != lengths[2]
    assert lengths[0] == lengths[2 if size == "many" else 1]


@pytest.mark.parametrize(("most", "latest"), [(200 * 12**2, 12), (200 * 12**2 - 1, 7)])
def test_of_large_logs_the_latest_items_of_all_users_count(
    monkeypatch: pytest.MonkeyPatch, most: int, latest: int
) -> None:
    monkeypatch.setattr("model.data.neighbours.MAX_USER_ITEMS", 14)
    monkeypatch.setattr("model.data.neighbours.MAX_PAIRS", most)
    log = draw_log(40)
    assert len(log) == 200
    assert {len(sequence) for sequence in log} == {12}

    found = neighbours_of(log, 40)
    expected = neighbours_of([sequence[-latest:] for sequence in log], 40)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_neighbours_are_counted_some_items_after_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = neighbours_of(draw_log(40), 40)
    monkeypatch.setattr("model.data.user_items._MAX_BLOCK", 1)

    for one, other in zip(neighbours_of(draw_log(40), 40), at_once, strict=True):
        np.testing.assert_array_equal(one, other)
