import numpy as np
import pytest

from index.renewal.cold_items import mean_vectors, pulled, stretched
from model.arrays import Floats
from tests.bundles import clustered_vectors, unit_rows

K, DIM = 4, 16


@pytest.fixture
def vectors() -> Floats:
    return clustered_vectors(2000, DIM, K, np.random.default_rng(0))[0]


def test_a_group_is_averaged(vectors: Floats) -> None:
    groups = [np.array([3]), np.array([1, 5, 9]), np.array([0, 0])]

    means = mean_vectors(vectors, groups)

    expected = [vectors[group].mean(axis=0) for group in groups]
    np.testing.assert_allclose(means, expected, atol=1e-6)
    assert means.dtype == np.float32


def test_a_mean_scores_what_its_items_score_on_average(vectors: Floats) -> None:
    group = np.arange(0, 400, K)
    interest = unit_rows(vectors[[0, 4, 8]].mean(axis=0)[np.newaxis])[0]

    mean = mean_vectors(vectors, [group])[0]

    assert mean @ interest == pytest.approx((vectors[group] @ interest).mean(), abs=1e-6)
    # At unit length it beats them all: what the module's docstring warns of.
    assert mean / np.linalg.norm(mean) @ interest > np.quantile(vectors[group] @ interest, 0.95)


def test_the_pull_goes_to_the_own_hyper_category_and_keeps_the_length() -> None:
    vectors, hyper_categories, cluster = clustered_vectors(100, DIM, K, np.random.default_rng(1))
    means = 0.7 * vectors

    drawn = pulled(means, hyper_categories)

    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 0.7, atol=1e-5)
    before = (unit_rows(means) * hyper_categories[cluster]).sum(axis=1)
    after = (unit_rows(drawn) * hyper_categories[cluster]).sum(axis=1)
    assert (after > before).all()
    assert (unit_rows(drawn) * unit_rows(means)).sum(axis=1).min() > 0.98


def users(vectors: Floats, n: int) -> tuple[Floats, Floats]:
    """Interests, shape (n, 2, d), and the score of each user's 100th item, shape (n,)."""
    rng = np.random.default_rng(2)
    interests = unit_rows(
        np.stack([vectors[rng.integers(0, 500, 4) * K + each % K].mean(0) for each in range(2 * n)])
    ).reshape(n, 2, DIM)
    best = np.stack([(user @ vectors.T).max(axis=0) for user in interests])
    return interests, -np.sort(-best, axis=1)[:, 99]


def test_new_items_take_the_share_of_answers_that_they_have_of_the_catalog(
    vectors: Floats,
) -> None:
    interests, cuts = users(vectors, 40)
    groups = [np.arange(cluster, 2000, K) for cluster in range(K)]
    new = np.repeat(mean_vectors(vectors, groups), 50, axis=0)
    share = len(new) / (len(new) + len(vectors))

    found = stretched(new, np.ones(len(new), bool), interests, cuts, share=share, top=100)

    def taken(of: Floats) -> float:
        scores = np.stack([(user @ of.T).max(axis=0) for user in interests])
        return float((scores >= cuts[:, np.newaxis]).mean(axis=0).sum()) / 100

    assert taken(unit_rows(new)) > 2 * share
    assert 0.2 * share < taken(found) <= share


def test_what_somebody_named_stays_as_it_is(vectors: Floats) -> None:
    interests, cuts = users(vectors, 10)
    new = 0.5 * vectors[:20]
    may_stretch = np.arange(20) < 10

    found = stretched(new, may_stretch, interests, cuts, share=0.5, top=100)

    np.testing.assert_array_equal(found[10:], new[10:])
    assert (np.linalg.norm(found[:10], axis=1) > 0.5).all()


def test_nothing_becomes_longer_than_a_trained_vector(vectors: Floats) -> None:
    interests, cuts = users(vectors, 10)

    # No length would be enough for a share this large.
    found = stretched(0.1 * vectors[:5], np.ones(5, bool), interests, cuts, share=1.0, top=100)

    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_where_all_is_some_times_as_long_new_items_become_as_many_times_as_long(
    vectors: Floats,
) -> None:
    interests, cuts = users(vectors, 20)
    new = mean_vectors(vectors, [np.arange(cluster, 2000, K) for cluster in range(K)])
    may_stretch = np.ones(len(new), bool)

    found = stretched(new, may_stretch, interests, cuts, share=0.1, top=100)
    longer = stretched(7 * new, may_stretch, interests, 7 * cuts, share=0.1, top=100, longest=7.0)

    np.testing.assert_allclose(longer, 7 * found, rtol=1e-4)
    assert (np.linalg.norm(longer, axis=1) > np.linalg.norm(7 * new, axis=1)).all()


def test_without_hyper_categories_nothing_is_drawn_anywhere(vectors: Floats) -> None:
    np.testing.assert_array_equal(pulled(vectors, None), vectors)
