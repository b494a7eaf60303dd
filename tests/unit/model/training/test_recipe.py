"""What a configuration makes of a data set."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.config.training_config import Recipe, TrainingConfig
from model.data.cooccurrence import pmi_vectors
from model.data.dataset import Dataset
from model.errors import InputError
from model.training import recipe
from model.training.learner import total_loss
from model.training.recipe import (
    LENGTHS,
    new_encoder,
    new_optimizers,
    new_sampler,
    steps_between_validations,
    training_length,
)
from tests.opal import new_opal

RECIPES: tuple[Recipe, Recipe] = ("default", "paper")
SMALL = {"k": 3, "dim": 8, "batch_size": 16}

every_recipe = pytest.mark.parametrize("name", RECIPES)


def config_of(name: Recipe, **options: Any) -> TrainingConfig:
    return TrainingConfig.for_recipe(name, {**SMALL, **options})


@every_recipe
def test_the_encoder_has_the_terms_of_its_recipe(dataset: Dataset, name: Recipe) -> None:
    config = config_of(name)
    encoder = new_opal(dataset, config, dataset.train_end)
    learned = {n for n, value in encoder.named_parameters() if value.requires_grad}
    scalars = {"log_score_temperature", "recency", "evolution_logit"}

    assert encoder.item_table.shape == (dataset.n_items, 8)
    assert encoder.hyper_table.shape == (3, 8)
    assert learned & scalars == (scalars if name == "default" else set())
    assert encoder.sharing == config.sharing
    assert encoder.temperature == config.assignment_temperature
    assert encoder.score_temperature.item() == pytest.approx(config.temperature)
    assert encoder.evolution.item() == pytest.approx(config.evolution)
    assert encoder.recency.item() == 0


def test_the_general_interest_attends_where_it_is_told_or_users_are_many(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ages(attention: bool | None) -> int | None:
        config = config_of("default", attention=attention, max_len=7)
        general = new_opal(dataset, config, dataset.train_end).general
        assert general is not None
        return None if general.attention is None else len(general.attention.positions)

    assert [ages(None), ages(False), ages(True)] == [None, None, 7]
    monkeypatch.setattr("model.config.data_size.MANY_USERS", dataset.n_users)
    assert [ages(None), ages(False), ages(True)] == [7, None, 7]


@pytest.mark.parametrize("given", [None, 3])
def test_the_general_interest_reads_as_far_as_it_is_told(
    dataset: Dataset, given: int | None
) -> None:
    encoder = new_opal(dataset, config_of("default", general_len=given), dataset.train_end)

    assert encoder.general is not None
    assert encoder.general.length == given


@every_recipe
@pytest.mark.parametrize("start", ["pmi", "random"])
def test_hyper_categories_start_orthonormal(dataset: Dataset, name: Recipe, start: str) -> None:
    c = new_opal(dataset, config_of(name, start=start), dataset.train_end).hyper_categories()

    torch.testing.assert_close(c @ c.T, torch.eye(3), atol=1e-5, rtol=0)


@every_recipe
@pytest.mark.parametrize("start", ["pmi", "random"])
def test_the_seed_alone_determines_where_training_starts(
    dataset: Dataset, name: Recipe, start: str
) -> None:
    states = [
        new_encoder(
            dataset, config_of(name, start=start, seed=seed), dataset.train_end
        ).state_dict()
        for seed in (1, 1, 2)
    ]

    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["gru.weight_ih_l0"], states[2]["gru.weight_ih_l0"])


def test_the_start_knows_nothing_after_the_end_it_is_given(dataset: Dataset) -> None:
    """Validation and test interactions must not leak into the item vectors."""
    encoder = new_encoder(dataset, config_of("default"), dataset.train_end)
    is_train = np.zeros(len(dataset.items), dtype=bool)
    for begin, end in zip(dataset.offsets[:-1], dataset.train_end, strict=True):
        is_train[begin:end] = True
    hidden = replace(dataset, items=np.where(is_train, dataset.items, 0))

    blind = new_encoder(hidden, config_of("default"), dataset.train_end)
    assert torch.equal(encoder.item_table, blind.item_table)
    whole = new_encoder(dataset, config_of("default"), dataset.offsets[1:])
    assert not torch.equal(encoder.item_table, whole.item_table)


def test_the_start_is_that_of_co_occurrence(dataset: Dataset) -> None:
    encoder = new_encoder(dataset, config_of("default", seed=5), dataset.train_end)
    expected = pmi_vectors(
        dataset.items,
        dataset.offsets[:-1],
        dataset.train_end,
        n_items=dataset.n_items,
        dim=8,
        random=np.random.default_rng(5),
    )

    np.testing.assert_array_equal(encoder.item_table.detach().numpy(), expected)


@pytest.mark.parametrize(
    ("name", "given", "kind", "n_drawn"),
    [
        ("paper", None, "even", 16),  # N = B
        ("paper", 7, "even", 7),
        ("default", None, "whole", None),
        ("default", 50, "popular", 50),
    ],
)
def test_negatives_are_those_of_the_recipe(
    dataset: Dataset, name: Recipe, given: int | None, kind: str, n_drawn: int | None
) -> None:
    sampler = new_sampler(dataset, config_of(name, n_negatives=given), dataset.train_end)
    batch = sampler.draw(np.random.default_rng(0))
    rows = batch.items[batch.negatives]

    assert (batch.log_weights is not None) == (kind == "popular")
    if kind == "whole":
        assert rows.tolist() == list(range(dataset.n_items))
    elif kind == "even":
        assert len(rows) == n_drawn
    else:
        assert len(rows) <= (n_drawn or 0)


def test_the_default_recipe_samples_where_the_catalog_is_large(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "FULL_SOFTMAX_ITEMS", dataset.n_items - 1)
    monkeypatch.setattr(recipe, "SAMPLED_NEGATIVES", 20)
    batch = new_sampler(dataset, config_of("default"), dataset.train_end).draw(
        np.random.default_rng(0)
    )

    assert batch.log_weights is not None
    assert 0 < len(batch.negatives) <= 20


@every_recipe
def test_batches_are_those_of_the_recipe(dataset: Dataset, name: Recipe) -> None:
    batch = new_sampler(dataset, config_of(name, batch_size=200), dataset.train_end).draw(
        np.random.default_rng(0)
    )
    last_age = batch.ages[np.cumsum(batch.lengths) - 1]

    assert len(batch.lengths) == 200
    assert (len(batch.owners) > 200) == (name == "default")  # several positives of some users
    assert last_age.any() == (name == "default")  # some newest interactions were dropped


@every_recipe
def test_the_earliest_cut_is_that_of_the_recipe(dataset: Dataset, name: Recipe) -> None:
    config = config_of(name, batch_size=200, history_dropout=0.0)
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))

    assert batch.lengths.min() == (1 if name == "default" else 3)  # sequences are of 10 here


def test_one_positive_each_can_be_asked_for(dataset: Dataset) -> None:
    config = config_of("default", positives="one", batch_size=200)
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))

    assert batch.owners.tolist() == list(range(200))


def test_the_very_next_item_can_be_asked_for(dataset: Dataset) -> None:
    config = config_of("default", positives="next", history_dropout=0.0, batch_size=200)
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))
    newest = batch.items[batch.histories[np.cumsum(batch.lengths) - 1]]
    positives = batch.items[batch.positives]

    assert batch.owners.tolist() == list(range(200))
    pairs = set(zip(dataset.items[:-1].tolist(), dataset.items[1:].tolist(), strict=True))
    assert set(zip(newest.tolist(), positives.tolist(), strict=True)) <= pairs


def test_a_log_too_small_to_train_on_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="too small to train"):
        new_sampler(dataset, config_of("default"), dataset.offsets[:-1] + 1)


def test_a_batch_is_shared_out_evenly_or_not_at_all(dataset: Dataset) -> None:
    config = config_of("paper")
    sampler = new_sampler(dataset, config, dataset.train_end, processes=2)
    batch = sampler.draw(np.random.default_rng(0))

    assert len(batch.lengths) == 8
    with pytest.raises(InputError, match="--batch-size is 16; expected a multiple of the 3"):
        new_sampler(dataset, config, dataset.train_end, processes=3)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("stage", ["soft", "hard"])
@every_recipe
def test_the_optimisers_move_all_that_is_learned_and_nothing_else(
    dataset: Dataset, name: Recipe, stage: str, sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "DENSE_ITEMS", 0 if sparse else dataset.n_items)
    config = config_of(name)
    encoder = new_encoder(dataset, config, dataset.train_end)
    before = {n: value.clone() for n, value in encoder.named_parameters()}
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))
    total_loss(encoder.losses(batch, "hard", config)).backward()  # type: ignore[no-untyped-call]
    optimizers = new_optimizers(encoder, config, stage)
    for optimizer in optimizers:
        optimizer.step()

    share = 0.2 if (name, stage) == ("default", "hard") else 1.0
    assert encoder.sparse_gradients == sparse
    assert optimizers[-1].param_groups[0]["weight_decay"] == config.weight_decay
    assert [each.param_groups[0]["lr"] for each in optimizers] == pytest.approx(
        [config.learning_rate * share] * len(optimizers)
    ), "the hard stage fine-tunes"
    assert [type(each).__name__ for each in optimizers] == ["SparseAdam"] * sparse + ["Adam"]
    for n, value in encoder.named_parameters():
        assert torch.equal(value, before[n]) != value.requires_grad, n


def test_rows_without_gradient_rest_where_the_catalog_is_large(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "DENSE_ITEMS", 0)
    config = config_of("default", batch_size=2, n_negatives=3)
    encoder = new_encoder(dataset, config, dataset.train_end)
    optimizers = new_optimizers(encoder, config, "soft")
    sampler, random = new_sampler(dataset, config, dataset.train_end), np.random.default_rng(0)
    for _ in range(3):
        before = encoder.item_table.detach().clone()
        batch = sampler.draw(random)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total_loss(encoder.losses(batch, "soft", config)).backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        moved = (encoder.item_table.detach() != before).any(1).nonzero().flatten()

        assert 0 < len(moved) < dataset.n_items
        assert set(moved.tolist()) <= set(batch.items.tolist())


def test_the_length_is_the_longest_that_is_tried_unless_it_is_given() -> None:
    assert training_length(config_of("default")) == LENGTHS[-1] == max(LENGTHS)
    assert training_length(config_of("default", max_len=7)) == 7
    assert training_length(config_of("paper")) == 100


@pytest.mark.parametrize(
    ("n_users", "steps"), [(1, 50), (16 * 50, 50), (16 * 300 + 5, 300), (10**9, 1000)]
)
def test_an_epoch_lies_between_validations_within_limits(n_users: int, steps: int) -> None:
    assert steps_between_validations(config_of("default"), n_users) == steps
    assert steps_between_validations(config_of("default", eval_every=7), n_users) == 7
    assert steps_between_validations(config_of("paper"), n_users) == 1000
