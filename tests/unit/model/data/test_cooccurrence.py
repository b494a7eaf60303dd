"""Where training starts: PMI against a loop, eigenvectors against NumPy's, planted clusters."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.arrays import Floats
from model.data import cooccurrence
from model.data.cooccurrence import cluster_directions, pmi_vectors
from tests.logs import draw_log, lay_out

# The catalog is larger than four times d where eigenvectors are found iteratively.
SMALL, LARGE = 30, 400
DIM = 8


def vectors_of(
    sequences: list[list[int]], n_items: int, *, dim: int = DIM, seed: int = 0
) -> Floats:
    random = np.random.default_rng(seed)
    return pmi_vectors(*lay_out(sequences), n_items=n_items, dim=dim, random=random)


def slow_positive_pmi(sequences: list[list[int]], n_items: int) -> NDArray[np.float64]:
    """max(0, log p(v, w) / (p(v) p(w))), pair by pair."""
    pairs: Counter[tuple[int, int]] = Counter()
    for sequence in sequences:
        for v, w in combinations(sorted(set(sequence)), 2):
            pairs[v, w] += 1
            pairs[w, v] += 1
    of_item = Counter[int]()
    for (v, _), count in pairs.items():
        of_item[v] += count
    total = pairs.total()
    result = np.zeros((n_items, n_items))
    for (v, w), count in pairs.items():
        p_v, p_w = of_item[v] / total, of_item[w] / total
        result[v, w] = max(0, np.log(count / total / (p_v * p_w)))
    return result


def cosines(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    result: NDArray[np.float64] = unit @ unit.T
    return result


@pytest.mark.parametrize("n_items", [SMALL, LARGE])
def test_inner_products_are_those_of_the_leading_part_of_the_positive_pmi(n_items: int) -> None:
    log = draw_log(n_items)
    vectors = vectors_of(log, n_items)
    pmi = slow_positive_pmi(log, n_items)
    values, columns = np.linalg.eigh(pmi)
    leading = columns[:, -DIM:] * np.sqrt(np.maximum(values[-DIM:], 0))

    known = pmi.any(1)
    assert known.mean() > 0.9
    found, expected = (cosines(v[known].astype(float)) for v in (vectors, leading))
    np.testing.assert_allclose(found, expected, atol=5e-3)  # found in single precision


def test_with_as_many_dimensions_as_items_the_vectors_hold_all_that_is_positive() -> None:
    log = draw_log(SMALL)
    values, columns = np.linalg.eigh(slow_positive_pmi(log, SMALL))
    positive = columns * np.sqrt(np.maximum(values, 0))

    vectors = vectors_of(log, SMALL, dim=SMALL + 5)
    assert vectors.shape == (SMALL, SMALL + 5)
    np.testing.assert_allclose(cosines(vectors.astype(float)), cosines(positive), atol=1e-4)


def test_an_item_counts_once_for_each_user() -> None:
    log = draw_log(SMALL)
    repeated = [[*sequence, *sequence[:5], sequence[0]] for sequence in log]

    assert np.array_equal(vectors_of(log, SMALL), vectors_of(repeated, SMALL))


def test_only_the_latest_items_of_a_long_user_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "MAX_USER_ITEMS", 4)
    log = draw_log(SMALL)

    assert np.array_equal(
        vectors_of(log, SMALL), vectors_of([sequence[-4:] for sequence in log], SMALL)
    )


def test_of_a_log_of_too_many_pairs_some_users_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    log = draw_log(SMALL, n_users=400)
    whole = vectors_of(log, SMALL)
    monkeypatch.setattr(cooccurrence, "MAX_PAIRS", 200 * 12**2)
    first, again, other = (vectors_of(log, SMALL, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, whole)
    # A half of the users says about the same.
    agreement = np.corrcoef(
        cosines(first.astype(float)).ravel(), cosines(whole.astype(float)).ravel()
    )
    assert agreement[0, 1] > 0.8


def test_users_are_drawn_although_some_items_are_then_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cooccurrence, "MAX_PAIRS", 3 * 12**2)

    vectors = vectors_of(draw_log(LARGE), LARGE)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


ALONE = [[item, item] for item in range(LARGE)]
LOGS = {
    "of 2 items": ([[0, 1], [1, 0]], 2),
    "of 2 items that never meet": ([[0, 0], [1, 1]], 2),
    "smaller than d": (draw_log(5), 5),
    "in which nothing co-occurs": (ALONE[:SMALL], SMALL),
    "large, in which nothing co-occurs": (ALONE, LARGE),
    "in which all co-occurs": ([list(range(LARGE))] * 3, LARGE),
    "of pairs": ([[2 * i, 2 * i + 1] for i in range(LARGE // 2)], LARGE),
    "of one pair": ([[0, 1]], LARGE),
    "like any": (draw_log(LARGE), LARGE),
}
every_log = pytest.mark.parametrize(("log", "n_items"), LOGS.values(), ids=LOGS.keys())


@every_log
def test_every_item_of_a_catalog_gets_a_unit_vector(log: list[list[int]], n_items: int) -> None:
    vectors = vectors_of(log, n_items)

    assert vectors.shape == (n_items, DIM)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


@every_log
def test_the_same_log_and_seed_give_the_same_start(log: list[list[int]], n_items: int) -> None:
    first, again = (vectors_of(log, n_items) for _ in range(2))
    ways, again_ways = (cluster_directions(first, 4, np.random.default_rng(0)) for _ in range(2))

    assert np.array_equal(first, again)
    assert np.array_equal(ways, again_ways)


@every_log
@pytest.mark.parametrize("k", range(1, DIM + 1))
def test_directions_are_orthonormal_whatever_the_catalog(
    log: list[list[int]], n_items: int, k: int
) -> None:
    directions = cluster_directions(vectors_of(log, n_items), k, np.random.default_rng(0))

    assert directions.shape == (k, DIM)
    assert directions.dtype == np.float32
    np.testing.assert_allclose(directions @ directions.T, np.eye(k), atol=1e-5)


@pytest.mark.parametrize("distinct", [1, 2, 5])
@pytest.mark.parametrize("k", range(1, DIM + 1))
def test_directions_are_orthonormal_where_there_are_fewer_points_than_clusters(
    distinct: int, k: int
) -> None:
    vectors = np.eye(DIM, dtype=np.float32)[np.arange(40) % distinct]
    directions = cluster_directions(vectors, k, np.random.default_rng(0))

    np.testing.assert_allclose(directions @ directions.T, np.eye(k), atol=1e-5)


def test_items_that_co_occur_with_nothing_get_directions_of_their_own() -> None:
    # Pairs that are outside all leading eigenvectors, too, have nothing to go by; what rounding
    # leaves of them there is the same for all.
    random = np.random.default_rng(0)
    groups = 20 * random.integers(60, size=(3000, 1)) + random.integers(20, size=(3000, 15))
    n_grouped = 60 * 20
    pairs = [[i, i + 1] for i in range(n_grouped, n_grouped + 40, 2)]
    alone = [[i, i] for i in range(n_grouped + 40, n_grouped + 60)]
    vectors = vectors_of([*groups.tolist(), *pairs, *alone], n_grouped + 60)

    cosine = cosines(vectors[n_grouped:].astype(float))
    apart = cosine[np.triu_indices(60, 1)]
    assert abs(apart.mean()) < 0.05
    assert apart.std() == pytest.approx(DIM**-0.5, abs=0.05)  # as of random directions


@pytest.mark.parametrize("n_clusters", [2, 4, 8])
def test_planted_clusters_are_recovered(n_clusters: int) -> None:
    random = np.random.default_rng(0)
    planted = np.arange(50 * n_clusters) % n_clusters
    log = [
        random.choice(np.flatnonzero(np.isin(planted, liked)), size=12).tolist()
        for liked in random.integers(n_clusters, size=(300, 2))
    ]
    vectors = vectors_of(log, len(planted), dim=16)
    directions = cluster_directions(vectors, n_clusters, random)

    found = (vectors @ directions.T).argmax(1)
    table = np.zeros((n_clusters, n_clusters))
    np.add.at(table, (planted, found), 1)
    assert set(table.argmax(1)) == set(range(n_clusters))
    assert table.max(1).sum() / table.sum() > 0.98


def test_directions_lie_as_near_to_the_centroids_as_orthogonal_ones_can() -> None:
    # Clusters along orthogonal axes, less their mean: the axes themselves come nearest.
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(DIM, DIM)))[0][:4]
    vectors = axes.repeat(30, axis=0) + random.normal(0, 0.02, size=(120, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = cluster_directions(vectors.astype(np.float32), 4, random)

    assert sorted((directions @ axes.T).argmax(1)) == [0, 1, 2, 3]
    assert (directions @ axes.T).max(1).min() > 0.8
