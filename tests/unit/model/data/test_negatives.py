"""What positives compete with: which items are drawn, and that the sample stands for them all."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.arrays import Rows
from model.data.negatives import (
    EvenNegatives,
    Negatives,
    NegativeSampler,
    PopularNegatives,
    WholeCatalog,
)

INTERACTIONS = np.array([400, 100, 100, 25, 9, 4, 1, 1, 0, 0])
N_ITEMS = len(INTERACTIONS)
SAMPLERS = (
    WholeCatalog(N_ITEMS),
    EvenNegatives(N_ITEMS, 4),
    PopularNegatives(INTERACTIONS, 4),
    PopularNegatives(INTERACTIONS, 200),
)
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda each: type(each).__name__)


def draw_many(sampler: NegativeSampler, n: int, seed: int = 0) -> list[Negatives]:
    random = np.random.default_rng(seed)
    return [sampler.draw(random) for _ in range(n)]


def estimates_of_sum(draws: list[Negatives], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ weight · exp(score) over each sample."""
    return np.array(
        [
            np.exp(scores[rows] + (0 if log_weights is None else log_weights)).sum()
            for rows, log_weights in draws
        ]
    )


@every_sampler
def test_negatives_are_distinct_items_of_the_catalog(sampler: NegativeSampler) -> None:
    for rows, log_weights in draw_many(sampler, 50):
        assert rows.dtype == np.int64
        assert len(np.unique(rows)) == len(rows) > 0
        assert rows.min() >= 0
        assert rows.max() < N_ITEMS
        if log_weights is not None:
            assert log_weights.shape == rows.shape
            assert log_weights.dtype == np.float32
            assert np.isfinite(log_weights).all()


@every_sampler
def test_the_generator_alone_determines_the_negatives(sampler: NegativeSampler) -> None:
    for first, again in zip(draw_many(sampler, 5), draw_many(sampler, 5), strict=True):
        assert np.array_equal(first.rows, again.rows)
        if first.log_weights is not None and again.log_weights is not None:
            assert np.array_equal(first.log_weights, again.log_weights)


def test_the_whole_catalog_is_every_item_without_weights() -> None:
    (rows, log_weights), *_ = draw_many(WholeCatalog(7), 1)

    assert rows.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert log_weights is None


@pytest.mark.parametrize("n_negatives", [1, 4, N_ITEMS, 99])
def test_even_negatives_are_as_many_as_asked_for_or_as_there_are(n_negatives: int) -> None:
    for rows, log_weights in draw_many(EvenNegatives(N_ITEMS, n_negatives), 20):
        assert len(rows) == min(n_negatives, N_ITEMS)
        assert log_weights is None


def test_even_negatives_come_up_equally() -> None:
    draws = draw_many(EvenNegatives(N_ITEMS, 4), 5000)
    counts = np.bincount(np.concatenate([rows for rows, _ in draws]))

    np.testing.assert_allclose(counts / 5000, 0.4, atol=4 * np.sqrt(0.24 / 5000))


def test_popular_negatives_come_up_by_the_root_of_popularity() -> None:
    # One draw at a time: no repetition hides how often an item comes up.
    draws = draw_many(PopularNegatives(INTERACTIONS, 1), 40_000)
    counts = np.bincount(np.concatenate([rows for rows, _ in draws]), minlength=N_ITEMS)

    root = np.sqrt(np.maximum(INTERACTIONS, 1))
    expected = root / root.sum()
    margin = 4 * np.sqrt(expected * (1 - expected) / 40_000)
    assert (abs(counts / 40_000 - expected) < margin).all()


def test_an_item_weighs_its_draws_over_those_expected() -> None:
    root = np.sqrt(np.maximum(INTERACTIONS, 1))
    q = root / root.sum()
    (rows, log_weights), *_ = draw_many(PopularNegatives(INTERACTIONS, 50), 1)
    assert log_weights is not None
    counts = np.exp(log_weights) * 50 * q[rows]

    np.testing.assert_allclose(counts, counts.round(), rtol=1e-5)
    assert counts.sum() == pytest.approx(50, rel=1e-5)


@pytest.mark.parametrize("n_negatives", [1, 4, 30])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_the_weighted_sample_is_an_unbiased_estimate_of_the_sum_over_the_catalog(
    n_negatives: int, spread: float
) -> None:
    # Popular items score higher, as in a trained model, and some unpopular ones as high.
    random = np.random.default_rng(7)
    scores = spread * (np.log1p(INTERACTIONS) / 6 + random.normal(size=N_ITEMS) / 2)
    estimates = estimates_of_sum(
        draw_many(PopularNegatives(INTERACTIONS, n_negatives), 5000), scores
    )

    standard_error = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - np.exp(scores).sum()) < 4 * standard_error


def test_without_weights_the_sample_would_be_biased() -> None:
    """So the test above can fail: unweighted, it is off by many standard errors."""
    draws = [Negatives(rows, None) for rows, _ in draw_many(SAMPLERS[2], 5000)]
    scores = np.log1p(INTERACTIONS) / 6
    estimates = estimates_of_sum(draws, scores)

    standard_error = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - np.exp(scores).sum()) > 50 * standard_error


def test_the_estimate_nears_the_sum_as_the_sample_grows() -> None:
    scores = np.random.default_rng(7).normal(size=N_ITEMS)
    spreads = [
        estimates_of_sum(draw_many(PopularNegatives(INTERACTIONS, n), 2000), scores).std()
        for n in (10, 1000)
    ]

    assert spreads[1] == pytest.approx(spreads[0] / 10, rel=0.1)


class OneAfterAnother(np.random.Generator):
    """Gives the numbers that it is told to."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self._numbers = numbers

    def random(self, *arguments: object, **options: object) -> NDArray[np.float64]:  # type: ignore[override]
        return np.array(self._numbers)


@pytest.mark.parametrize("number", [0.0, np.nextafter(1, 0)])
def test_the_ends_of_the_unit_interval_are_items_too(number: float) -> None:
    ones: Rows = np.ones(10, dtype=np.int64)  # ten times 0.1, rounded, is this number
    rows, _ = PopularNegatives(ones, 1).draw(OneAfterAnother([number]))

    assert rows.tolist() == [0 if number == 0 else 9]
