"""What holds of each rival, in training and served."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.arrays import Rows
from model.baselines.measuring import measure
from model.baselines.popular import Popular
from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset, prepare
from model.data.histories import TrainingBatch
from model.evaluation import evaluate_scores, score_by_encoder
from model.rivals.cmi import Cmi
from model.rivals.comirec_dr import ComiRecDr
from model.rivals.comirec_sa import ComiRecSa
from model.rivals.dssrec import DssRec
from model.rivals.gru4rec import Gru4Rec
from model.rivals.mind import Mind
from model.rivals.octopus import Octopus
from model.rivals.rival import MAIN, Rival
from model.rivals.sasrec import SasRec
from model.training.recipe import new_sampler
from tests.planted import PlantedLog
from tests.rivals import (
    DIM,
    MAX_LEN,
    AttendingCmi,
    K,
    exported,
    interests,
    load,
    new_rival,
    ragged,
)

RIVALS: list[type[Rival]] = [
    ComiRecSa,
    Mind,
    ComiRecDr,
    Octopus,
    Cmi,
    AttendingCmi,
    DssRec,
    Gru4Rec,
    SasRec,
]
# Whose encoding depends on how long ago an interaction was, besides on the order.
KNOW_AGE: list[type[Rival]] = [ComiRecSa, Mind, ComiRecDr, AttendingCmi, DssRec, SasRec]

every_rival = pytest.mark.parametrize("cls", RIVALS, ids=lambda cls: cls.__name__)
sizes = pytest.mark.parametrize("unit_vectors", [True, False], ids=["unit", "free"])


@every_rival
@sizes
def test_numpy_equals_torch(cls: type[Rival], unit_vectors: bool) -> None:
    rival = new_rival(cls, unit_vectors=unit_vectors)
    histories = ragged([1, 2, 3, 4, 7, 9, 10, 13, 40])

    served = load(*exported(rival)).encode_batch(histories)

    expected = interests(rival, histories)
    np.testing.assert_allclose([each.vectors for each in served], expected, rtol=0, atol=3e-6)
    assert served[0].vectors.dtype == np.float32


@every_rival
@pytest.mark.parametrize("length", [1, 3, 9])
def test_served_history_cut_shorter_is_what_torch_makes_of_its_end(
    cls: type[Rival], length: int
) -> None:
    rival = new_rival(cls)
    (history,) = ragged([30])

    served = load(*exported(rival, max_len=length)).encode(history)

    expected = interests(rival, [history[-length:]])[0]
    np.testing.assert_allclose(served.vectors, expected, rtol=0, atol=3e-6)
    assert len(served.assignment) == length


@every_rival
def test_served_result_is_the_same_whatever_the_batch(cls: type[Rival]) -> None:
    encoder = load(*exported(new_rival(cls)))
    histories = ragged([3, 10, 1, 25])

    for history, together in zip(histories, encoder.encode_batch(histories), strict=True):
        alone = encoder.encode(history)
        assert (alone.vectors == together.vectors).all()
        assert (alone.assignment == together.assignment).all()


@every_rival
def test_assignment_shares_out_each_interaction(cls: type[Rival]) -> None:
    for found in load(*exported(new_rival(cls))).encode_batch(ragged([1, 2, 6, 10])):
        assert (found.assignment >= 0).all()
        np.testing.assert_allclose(found.assignment.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(found.weights, found.assignment.mean(axis=0), rtol=1e-5)
        assert found.counts.sum() == len(found.assignment)
        assert found.assignment.shape[1] == len(found.weights) == len(found.counts) == _k(cls)


@every_rival
@sizes
def test_padding_does_not_influence(cls: type[Rival], unit_vectors: bool) -> None:
    rival = new_rival(cls, unit_vectors=unit_vectors)
    histories = ragged([2, 10, 5])

    together = interests(rival, histories)

    for history, found in zip(histories, together, strict=True):
        np.testing.assert_allclose(interests(rival, [history])[0], found, rtol=0, atol=3e-6)


@every_rival
@sizes
def test_identical_items_and_zero_vectors_give_numbers(
    cls: type[Rival], unit_vectors: bool
) -> None:
    rival = new_rival(cls, unit_vectors=unit_vectors)
    with torch.no_grad():
        rival.item_table[0] = 0
    histories = [np.full(10, 7), np.zeros(4, dtype=np.int64), np.array([3])]

    found = rival.interests(torch.tensor([[7] * 10, [0] * 10, [3] + [-1] * 9]), MAIN)
    found.square().sum().backward()  # type: ignore[no-untyped-call]

    assert found.isfinite().all()
    for parameter in rival.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    for served in load(*exported(rival)).encode_batch(histories):
        assert np.isfinite(served.vectors).all()
        assert np.isfinite(served.assignment).all()


@every_rival
@sizes
def test_empty_history_is_served(cls: type[Rival], unit_vectors: bool) -> None:
    rival = new_rival(cls, unit_vectors=unit_vectors)

    served = load(*exported(rival)).encode(np.zeros(0, dtype=np.int64))

    assert served.vectors.shape == (_k(cls), DIM)
    assert np.isfinite(served.vectors).all()
    assert not served.weights.any()


@every_rival
def test_damaged_tensors_are_named(cls: type[Rival]) -> None:
    tensors, settings = exported(new_rival(cls))

    for name, tensor in tensors.items():
        without = {other: value for other, value in tensors.items() if other != name}
        with pytest.raises(ValueError, match=f"{re.escape(name)} is missing"):
            load(without, settings)
        wrong_type = tensor.astype(np.float64)
        wrong_rank = tensor[np.newaxis]
        wrong_width = tensor[..., :0]
        for damaged in (wrong_type, wrong_rank, wrong_width):
            with pytest.raises(ValueError, match=rf"{re.escape(name)} is \w+ of shape"):
                load({**tensors, name: damaged}, settings)  # type: ignore[dict-item]


@every_rival
def test_tensors_that_do_not_fit_each_other_are_refused(cls: type[Rival]) -> None:
    tensors, settings = exported(new_rival(cls))

    for name, tensor in tensors.items():
        if tensor.ndim > 1 and name != "routing.start":  # its width is k, which it alone knows
            with pytest.raises(ValueError, match=r"is float32 of shape"):
                load({**tensors, name: tensor[..., :-1]}, settings)


@every_rival
@pytest.mark.parametrize("name", ["max_len", "unit_vectors"])
def test_missing_setting_is_named(cls: type[Rival], name: str) -> None:
    tensors, settings = exported(new_rival(cls))
    del settings[name]

    with pytest.raises(ValueError, match=f"{name} is None"):
        load(tensors, settings)


@every_rival
def test_no_more_ages_are_served_than_were_trained(cls: type[Rival]) -> None:
    tensors, settings = exported(new_rival(cls), max_len=MAX_LEN + 1)

    if cls in KNOW_AGE:
        with pytest.raises(ValueError, match=r"has 10 rows, expected 11 or more"):
            load(tensors, settings)
    else:
        assert load(tensors, settings).max_len == MAX_LEN + 1


@every_rival
def test_unit_vectors_are_of_unit_length(cls: type[Rival]) -> None:
    found = interests(new_rival(cls), ragged([1, 4, 10]))

    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, rtol=1e-5)


@every_rival
def test_gradients_reach_every_parameter(cls: type[Rival], dataset: Dataset) -> None:
    config = TrainingConfig(k=K, dim=DIM, batch_size=32, max_len=MAX_LEN)
    rival = _rival_for(cls, dataset, config)
    _shake(rival)

    _loss(rival, _batch(dataset, config), config).backward()  # type: ignore[no-untyped-call]

    for name, parameter in rival.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        assert parameter.grad.isfinite().all(), name


@every_rival
def test_dropped_interactions_leave_the_others_their_age(
    cls: type[Rival], dataset: Dataset
) -> None:
    """The ages of a batch are those before the drop, and they are what the encoder goes by."""
    config = TrainingConfig(k=K, dim=DIM, batch_size=64, max_len=MAX_LEN, history_dropout=0.6)
    rival = _rival_for(cls, dataset, config)
    _shake(rival)
    batch = _batch(dataset, config)
    compact = replace(batch, ages=_ages_by_place(batch))
    assert (batch.ages != compact.ages).any()

    losses = []
    for each in (batch, compact):
        torch.manual_seed(0)
        losses.append(rival.losses(each, MAIN, config)["prediction"].item())

    assert (losses[0] != losses[1]) == (cls in KNOW_AGE)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A log in which a user likes two of eight categories; they are all that fit the top 50."""
    folder = tmp_path_factory.mktemp("planted")
    log = PlantedLog(n_users=200, n_categories=8, items_per_category=25, length=20)
    interactions, _ = log.write(folder / "log")
    prepare(interactions, folder / "dataset")
    return Dataset.open(folder / "dataset")


@every_rival
def test_learns_a_planted_log_better_than_popularity(cls: type[Rival], planted: Dataset) -> None:
    dataset = planted
    config = TrainingConfig(k=K, dim=16, batch_size=64, max_len=MAX_LEN, learning_rate=0.01)
    rival = _rival_for(cls, dataset, config)
    sampler = new_sampler(dataset, config, dataset.train_end)
    random = np.random.default_rng(0)
    adam = torch.optim.Adam(rival.parameters(), lr=config.learning_rate)
    for _ in range(150):
        loss = _loss(rival, sampler.draw(random), config)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()

    score = score_by_encoder(load(*exported(rival)))
    test = dataset.test
    found = evaluate_scores(score, dataset.n_items, test.histories, test.targets)

    popular = Popular(dataset.catalog["interactions"].to_numpy())
    expected = measure(popular, dataset.n_items, dataset.test)
    assert found["recall@50"] > 2 * expected["recall@50"]


def _k(cls: type[Rival]) -> int:
    return K if cls.has_interests else 1


def _rival_for(cls: type[Rival], dataset: Dataset, config: TrainingConfig) -> Rival:
    """Make a rival for a data set."""
    torch.manual_seed(0)
    return cls(
        n_items=dataset.n_items,
        n_interests=K,
        dim=config.dim,
        max_len=MAX_LEN,
        temperature=config.temperature,
        learn_temperature=True,
        unit_vectors=True,
        sparse_gradients=False,
    )


def _shake(rival: Rival) -> None:
    """Move every parameter away from its start, where some terms do nothing."""
    with torch.no_grad():
        for parameter in rival.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


def _batch(dataset: Dataset, config: TrainingConfig) -> TrainingBatch:
    return new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))


def _loss(rival: Rival, batch: TrainingBatch, config: TrainingConfig) -> Tensor:
    return torch.stack(list(rival.losses(batch, MAIN, config).values())).sum()


def _ages_by_place(batch: TrainingBatch) -> Rows:
    """The ages of a batch's interactions, were those that it holds the only ones."""
    ends = batch.lengths.cumsum()
    result: Rows = ends.repeat(batch.lengths) - 1 - np.arange(ends[-1])
    return result
