"""A yardstick by its name, from the training part."""

from typing import Any

import numpy as np
import pytest

from model.baselines import fitting
from model.baselines.ease import Ease
from model.baselines.fitting import choose_item_knn, fit_baseline
from model.baselines.itemknn import ItemKnn
from model.baselines.matrix import training_matrix
from model.baselines.measuring import measure
from model.baselines.names import YARDSTICKS
from model.baselines.popular import Popular
from model.data.dataset import Dataset, Sequences
from model.errors import InputError

SETTINGS: list[dict[str, Any]] = [
    {"shrinkage": shrinkage, "neighbours": neighbours}
    for shrinkage in (0, 20, 100)
    for neighbours in (None, 200)
]


def test_each_name_has_its_model(dataset: Dataset) -> None:
    kinds = [type(fit_baseline(name, dataset)) for name in YARDSTICKS]

    assert kinds == [Popular, ItemKnn, Ease]
    assert fit_baseline("ease", dataset).hyper_parameters == {"l2": 200}


@pytest.mark.parametrize("name", YARDSTICKS)
def test_what_it_tells_makes_it_again(dataset: Dataset, name: str) -> None:
    first = fit_baseline(name, dataset)
    again = fit_baseline(name, dataset, first.hyper_parameters)

    histories = dataset.test.histories
    assert again.hyper_parameters == first.hyper_parameters
    np.testing.assert_array_equal(again.scores(histories), first.scores(histories))


def test_item_knn_is_the_best_by_validation(dataset: Dataset) -> None:
    matrix = training_matrix(dataset)
    recalls = [
        measure(ItemKnn(matrix, **setting), dataset.n_items, dataset.valid)["recall@50"]
        for setting in SETTINGS
    ]
    chosen = choose_item_knn(matrix, dataset.valid).hyper_parameters

    assert len(set(recalls)) > 1, "else the choice could not be told"
    assert chosen == SETTINGS[int(np.argmax(recalls))]


def test_not_all_neighbours_are_kept_where_they_are_too_many(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "MAX_PAIRS_WITH_ALL", 1)

    assert (
        choose_item_knn(training_matrix(dataset), dataset.valid).hyper_parameters["neighbours"]
        == 200
    )


def test_only_some_users_are_asked(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def remember(baseline: ItemKnn, n_items: int, sequences: Sequences) -> dict[str, float]:
        asked.append(sequences)
        return measure(baseline, n_items, sequences)

    monkeypatch.setattr(fitting, "measure", remember)
    monkeypatch.setattr(fitting, "CHOICE_USERS", 20)
    choose_item_knn(training_matrix(dataset), dataset.valid)

    assert 10 < len(asked[0].histories) <= 20 < len(dataset.valid.histories)
    assert asked[0].histories[1] is dataset.valid.histories[3]
    assert asked[0].targets[1] is dataset.valid.targets[3]


def test_without_validation_users_there_is_a_choice(
    dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = choose_item_knn(training_matrix(dataset), Sequences([], []))

    assert "no user has a validation target" in caplog.text
    assert chosen.hyper_parameters == {"shrinkage": 0, "neighbours": None}


@pytest.mark.parametrize(
    ("name", "hyper_parameters", "words"),
    [
        ("ease", {"l2": "much"}, r"hyper_parameters\.l2 is 'much', expected a number"),
        ("ease", {"other": 1}, r"hyper_parameters\.l2 is None, expected a number"),
        ("itemknn", {"neighbours": 2}, r"hyper_parameters\.shrinkage is None, expected"),
        ("itemknn", {"shrinkage": 2}, r"hyper_parameters\.neighbours is None, expected"),
    ],
)
def test_damaged_hyper_parameters_are_named(
    dataset: Dataset, name: str, hyper_parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        fit_baseline(name, dataset, hyper_parameters)
