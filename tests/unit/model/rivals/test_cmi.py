"""CMI's equations and losses against plain loops."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config.training_config import Recipe, TrainingConfig
from model.data.dataset import Dataset
from model.layers.padded import PaddedHistories
from model.rivals import cmi as module
from model.rivals.batch import read_batch
from model.rivals.cmi import LONGEST_UNSPLIT, Cmi, contrast_loss, two_halves
from model.rivals.rival import MAIN
from model.training.recipe import new_encoder, new_sampler
from tests.padded import history_of
from tests.planted import chance_of, normalised_mutual_information
from tests.rivals import DIM, AttendingCmi, K, batch_of, exported, load, new_rival, ragged


def cmi() -> Cmi:
    rival = new_rival(Cmi)
    assert isinstance(rival, Cmi)
    return rival


def test_interest_is_that_of_a_category_and_the_general_one() -> None:
    rival = cmi()
    vectors = functional.normalize(torch.randn(5, DIM), dim=1)
    categories = functional.normalize(rival.category_table, dim=1)
    _, state = rival.gru(vectors)
    general = functional.normalize(functional.relu(rival.head(state[0])), dim=0)

    found = rival.encode(history_of(vectors))[0]

    for j in range(K):
        total = torch.zeros(DIM)
        for vector in vectors:
            shares = torch.stack([(vector @ category / 0.1).exp() for category in categories])
            total = total + shares[j] / shares.sum() * vector
        torch.testing.assert_close(found[j], functional.normalize(total, dim=0) + general)


def test_served_shares_are_the_assignment_to_categories() -> None:
    rival = cmi()
    encoder = load(*exported(rival))
    (history,) = ragged([6])

    served = encoder.encode(history)

    vectors = rival.item_embeddings()[torch.from_numpy(history)]
    expected = (vectors @ rival.hyper_categories().T / 0.1).softmax(1)
    np.testing.assert_allclose(served.assignment, expected.detach(), atol=1e-5)
    assert encoder.hyper_categories is not None
    np.testing.assert_allclose(np.linalg.norm(encoder.hyper_categories, axis=1), 1, rtol=1e-5)


@torch.no_grad()
def test_attention_reads_beside_the_gru() -> None:
    rival = new_rival(AttendingCmi).eval()
    assert isinstance(rival, Cmi)
    assert rival.attention is not None
    vectors = functional.normalize(torch.randn(5, DIM), dim=1)
    attended = functional.normalize(rival.attention(history_of(vectors).laid_out())[-1], dim=0)

    found = rival.encode(history_of(vectors))[0]

    attention, rival.attention = rival.attention, None
    by_gru = rival._general_interest(history_of(vectors))[0]
    of_categories = rival.encode(history_of(vectors))[0] - by_gru
    expected = of_categories + functional.normalize(by_gru + attended, dim=0)
    torch.testing.assert_close(found, expected)
    assert len(attention.blocks) == 1


@pytest.mark.parametrize(
    ("cls", "name", "other", "are"),
    [(Cmi, "cmi", "cmi-attention", "missing"), (AttendingCmi, "cmi-attention", "cmi", "there")],
)
def test_the_file_says_whether_it_attends_and_a_name_that_it_belies_is_refused(
    cls: type[Cmi], name: str, other: str, are: str
) -> None:
    tensors, settings = exported(new_rival(cls))

    assert settings["model"] == name
    with pytest.raises(ValueError, match=f"model is {other}, but .* are {are}"):
        load(tensors, {**settings, "model": other})


def test_many_users_make_it_attend_and_the_paper_never(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ages(recipe: Recipe, **given: object) -> int | None:
        given = {"k": 3, "dim": 16, "max_len": 7, **given}
        config = TrainingConfig.for_recipe(recipe, given, model="cmi")
        encoder = new_encoder(dataset, config, dataset.train_end)
        assert isinstance(encoder, Cmi)
        return None if encoder.attention is None else len(encoder.attention.positions)

    assert [ages("default"), ages("default", attention=True)] == [None, 7]
    monkeypatch.setattr("model.config.data_size.MANY_USERS", dataset.n_users)
    assert [ages("default"), ages("default", attention=False), ages("paper")] == [7, None, None]


@pytest.mark.parametrize("temperature", [None, 0, -1.0, float("nan"), float("inf"), "0.1", True])
def test_temperature_that_nothing_can_be_shared_out_with_is_refused(temperature: object) -> None:
    tensors, settings = exported(cmi())

    with pytest.raises(ValueError, match="temperature is"):
        load(tensors, {**settings, "temperature": temperature})


def histories_of(lengths: list[int]) -> PaddedHistories:
    """Histories whose every vector is a number of its own, ages with gaps."""
    longest = max(lengths)
    is_item = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
    numbers = torch.arange(1.0, is_item.numel() + 1).view(is_item.shape) * is_item
    ages = 2 * (torch.tensor(lengths).unsqueeze(1) - 1 - torch.arange(longest)).clamp(min=0)
    return PaddedHistories(numbers.unsqueeze(2), is_item, ages)


def rows(histories: PaddedHistories) -> list[list[tuple[float, int]]]:
    """Number and age of every interaction of each history."""
    return [
        [
            (number.item(), int(age))
            for number, age, held in zip(vectors[:, 0], ages, is_item, strict=True)
            if held
        ]
        for vectors, is_item, ages in zip(*histories, strict=True)
    ]


def test_halves_are_disjoint_ordered_and_all_of_a_history() -> None:
    torch.manual_seed(0)
    histories = histories_of([9, 30, 7, 8])
    before = rows(histories)

    halves = rows(two_halves(histories))

    assert [len(half) for half in halves] == [4, 15, 3, 4, 5, 15, 4, 4]
    for user, whole in enumerate(before):
        first, second = halves[user], halves[user + len(before)]
        assert first == sorted(first)
        assert second == sorted(second)
        assert sorted(first + second) == whole
    assert rows(two_halves(histories)) != halves


def test_short_histories_are_taken_whole_twice() -> None:
    histories = histories_of([1, LONGEST_UNSPLIT, LONGEST_UNSPLIT + 1])

    halves = rows(two_halves(histories))

    assert halves[:2] == rows(histories)[:2] == halves[3:5]
    assert len(halves[2]) + len(halves[5]) == LONGEST_UNSPLIT + 1


def test_contrast_tells_an_interest_from_those_of_all_users_both_ways() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(3, 2, DIM), torch.randn(3, 2, DIM)

    def one_way(here: Tensor, there: Tensor) -> Tensor:
        losses = []
        for u in range(3):
            for j in range(2):
                similarities = torch.stack(
                    [
                        nn.CosineSimilarity(dim=0)(here[u, j], there[v, other]) / 0.1
                        for v in range(3)
                        for other in range(2)
                    ]
                )
                losses.append(similarities.logsumexp(0) - similarities[2 * u + j])
        return torch.stack(losses).mean()

    expected = one_way(first, second) + one_way(second, first)
    torch.testing.assert_close(contrast_loss(first, second), expected)


def test_categories_start_along_the_clusters_of_the_items(dataset: Dataset) -> None:
    config = TrainingConfig(model="cmi", k=3, dim=16)
    encoder = new_encoder(dataset, config, dataset.train_end)
    assert isinstance(encoder, Cmi)
    categories = encoder.hyper_categories().detach()

    torch.testing.assert_close(categories @ categories.T, torch.eye(3), rtol=0, atol=1e-5)
    of_items = (encoder.item_embeddings().detach() @ categories.T).argmax(1)
    planted = np.unique(dataset.catalog["category"].explode(), return_inverse=True)[1]
    found = normalised_mutual_information(of_items.numpy(), planted)
    assert found > chance_of(of_items.numpy(), planted)[1]


def test_both_halves_predict(dataset: Dataset) -> None:
    options = {"k": 3, "dim": 8, "batch_size": 32, "max_len": 10}
    config = TrainingConfig.for_recipe("default", options, model="cmi")
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))
    rival = new_encoder(dataset, config, dataset.train_end)
    assert isinstance(rival, Cmi)
    torch.manual_seed(3)
    found = rival.losses(batch, MAIN, config)

    torch.manual_seed(3)
    on_device = read_batch(batch, rival)
    halves = functional.normalize(rival.encode(two_halves(on_device.histories)), dim=2)
    first, second = (rival.best_interest_loss(on_device, half) for half in halves.chunk(2))
    assert first != second
    torch.testing.assert_close(found["prediction"], (first + second) / 2)
    assert set(found) == {"prediction", "contrast", "orthogonality", "uniformity", "next_item"}


@pytest.mark.parametrize("cls", [Cmi, AttendingCmi])
def test_the_general_interest_learns_the_next_item_after_each_interaction(
    cls: type[Cmi], monkeypatch: pytest.MonkeyPatch
) -> None:
    rival, histories = new_rival(cls), [[3, 7, 3], [5], [1, 2]]
    assert isinstance(rival, Cmi)
    if rival.attention is not None:
        monkeypatch.setattr(rival.attention.dropout, "p", 0.0)
        for block in rival.attention.blocks:
            monkeypatch.setattr(block.dropout, "p", 0.0)
    batch = batch_of(histories, positives=[[4], [6], [9]], negatives=[2, 7, 9, 30])
    config = TrainingConfig(model="cmi", k=K, dim=DIM, next_item=0.5)
    paper = TrainingConfig.for_recipe("paper", model="cmi")

    found = rival.losses(batch, MAIN, config)["next_item"]

    items, losses = rival.item_embeddings(), []
    for history in histories:
        for t in range(1, len(history)):
            _, state = rival.gru(items[history[:t]])
            general = functional.normalize(functional.relu(rival.head(state[0])), dim=0)
            if rival.attention is not None:
                ages = range(len(history) - 1, len(history) - 1 - t, -1)
                read = history_of(items[history[:t]], [*ages]).laid_out()
                attended = functional.normalize(rival.attention(read)[-1], dim=0)
                general = functional.normalize(general + attended, dim=0)
            others = [negative for negative in (2, 7, 9, 30) if negative != history[t]]
            scores = items[[history[t], *others]] @ general / rival.score_temperature
            losses.append(-scores.log_softmax(0)[0])
    torch.testing.assert_close(found, torch.stack(losses).mean() / 2)
    assert "next_item" not in rival.losses(batch, MAIN, paper)


def test_only_the_first_users_are_contrasted(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONTRASTED_INTERESTS", 12)
    config = TrainingConfig(model="cmi", k=3, dim=8, batch_size=32, max_len=10)
    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))
    rival = new_encoder(dataset, config, dataset.train_end)
    assert isinstance(rival, Cmi)
    torch.manual_seed(3)
    found = rival.losses(batch, MAIN, config)

    torch.manual_seed(3)
    first, second = rival.encode(two_halves(read_batch(batch, rival).histories)).chunk(2)
    torch.testing.assert_close(found["contrast"], 0.05 * contrast_loss(first[:4], second[:4]))


def test_the_default_recipe_drops_nothing_before_the_halves() -> None:
    assert TrainingConfig.for_recipe("default", model="cmi").history_dropout == 0
    given = TrainingConfig.for_recipe("default", {"history_dropout": 0.3}, model="cmi")
    assert given.history_dropout == 0.3
    assert TrainingConfig.for_recipe("default", model="mind").history_dropout == 0.5
