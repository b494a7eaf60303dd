"""EASE against the inverse that NumPy takes in float64."""

import math

import numpy as np
import pytest

from model.arrays import Rows
from model.baselines import ease
from model.baselines.ease import MAX_ITEMS, Ease, require_fit
from model.baselines.matrix import history_matrix
from model.errors import InputError


def slow_weights(binary: np.ndarray, l2: float) -> np.ndarray:
    inverse = np.linalg.inv(binary.T @ binary + l2 * np.eye(binary.shape[1]))
    weights: np.ndarray = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("block", [512, 23, 10, 1])
@pytest.mark.parametrize("l2", [0.5, 200])
def test_scores_are_those_of_the_closed_form(
    histories: list[Rows],
    binary: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    l2: float,
    block: int,
) -> None:
    monkeypatch.setattr(ease, "_BLOCK", block)

    scores = Ease(history_matrix(histories, binary.shape[1]), l2=l2).scores(histories[:9])

    assert scores.dtype == np.float32
    expected = binary[:9] @ slow_weights(binary, l2)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)


def test_no_item_predicts_itself(histories: list[Rows], binary: np.ndarray) -> None:
    single = [np.array([item]) for item in range(binary.shape[1])]

    weights = Ease(history_matrix(histories, binary.shape[1]), l2=1).scores(single)

    assert (np.diag(weights) == 0).all()
    assert (weights != 0).any()


def test_the_weights_lessen_the_error_like_no_others(
    histories: list[Rows], binary: np.ndarray
) -> None:
    """What is minimised rises when the solution is shaken."""
    single = [np.array([item]) for item in range(binary.shape[1])]
    weights = Ease(history_matrix(histories, 23), l2=3).scores(single).astype(np.float64)

    def loss(tried: np.ndarray) -> float:
        return float(((binary - binary @ tried) ** 2).sum() + 3 * (tried**2).sum())

    random = np.random.default_rng(1)
    for _ in range(20):
        shaken = weights + random.normal(size=weights.shape) * 0.01 * (1 - np.eye(23))
        assert loss(shaken) > loss(weights)


def test_a_catalog_that_does_not_fit_is_refused_with_its_size() -> None:
    require_fit(MAX_ITEMS)
    with pytest.raises(InputError, match=r"25001 × 25001 numbers \(2\.5 GB\).* 25000 items"):
        require_fit(MAX_ITEMS + 1)
    with pytest.raises(InputError, match=r"100000 × 100000 numbers \(40\.0 GB\)"):
        Ease(history_matrix([np.array([0])], 100_000))


@pytest.mark.parametrize("l2", [0, -1, math.nan, math.inf])
def test_an_impossible_weight_is_refused(histories: list[Rows], l2: float) -> None:
    with pytest.raises(InputError, match=r"--ease-l2\) is .*; expected more than 0"):
        Ease(history_matrix(histories, 23), l2=l2)


def test_what_float32_cannot_invert_is_refused(histories: list[Rows]) -> None:
    # Item 22 was never seen: its row holds λ alone, which is lost in the others' rounding errors.
    twins = [np.append(each, 22) if 0 in each else each[each != 22] for each in histories]

    with pytest.raises(InputError, match=r"cannot be inverted in float32; raise λ \(--ease-l2\)"):
        Ease(history_matrix(twins, 23), l2=1e-30)
