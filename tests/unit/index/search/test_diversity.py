import numpy as np
import pytest

from index.search.diversity import diversify
from index.search.merging import Candidates
from model.arrays import Floats
from tests.bundles import clustered_vectors, unit_rows


def pool(vectors: Floats, query: Floats, size: int) -> Candidates:
    scores = vectors @ query
    rows = np.argsort(-scores, kind="stable")[:size]
    return Candidates(rows, scores[rows], np.zeros(size, dtype=np.int64))


def distance(rows: np.typing.NDArray[np.int64], vectors: Floats) -> float:
    """Mean cosine distance between the items of a list."""
    chosen = unit_rows(vectors[rows])
    cosines = chosen @ chosen.T
    return float(1 - cosines[np.triu_indices(len(rows), 1)].mean())


def test_no_diversity_is_the_plain_order() -> None:
    vectors = clustered_vectors(100, 8, 4, np.random.default_rng(0))[0]
    candidates = pool(vectors, vectors[0], 30)

    found = diversify(candidates, vectors, 0, 10)

    assert found.rows.tolist() == candidates.rows[:10].tolist()


def test_more_diversity_gives_lists_more_spread_on_average() -> None:
    spread = np.zeros(5)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        vectors = clustered_vectors(200, 8, 4, rng)[0]
        candidates = pool(vectors, unit_rows(rng.normal(size=(1, 8)))[0], 60)
        for place, diversity in enumerate((0, 0.25, 0.5, 0.75, 1)):
            rows = diversify(candidates, vectors, diversity, 10).rows
            assert len(set(rows.tolist())) == 10
            spread[place] += distance(rows, vectors)

    assert (np.diff(spread) > 0).all()


def test_scores_and_interests_stay_with_their_items_and_the_best_comes_first() -> None:
    vectors = clustered_vectors(100, 8, 4, np.random.default_rng(0))[0]
    candidates = pool(vectors, vectors[3], 30)

    found = diversify(candidates, vectors, 0.7, 20)

    by_row = dict(zip(candidates.rows.tolist(), candidates.scores.tolist(), strict=True))
    assert found.scores.tolist() == [by_row[row] for row in found.rows.tolist()]
    assert found.rows[0] == candidates.rows[0]
    assert found.rows.tolist() != candidates.rows[:20].tolist()


def test_the_formula_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    candidates = Candidates(
        np.array([0, 1, 2]), np.array([1, 0.9, 0.2], dtype=np.float32), np.zeros(3, dtype=np.int64)
    )

    # Second place: item 1 is worth 0.5 * 0.9 - 0.5 * 1, item 2 is worth 0.5 * 0.2.
    assert diversify(candidates, vectors, 0.5, 3).rows.tolist() == [0, 2, 1]
    assert diversify(candidates, vectors, 0.1, 3).rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("times", [5, 100])
def test_longer_vectors_are_as_varied(times: int) -> None:
    vectors = clustered_vectors(200, 8, 4, np.random.default_rng(0))[0]
    candidates = pool(vectors, vectors[3], 60)
    shares = candidates._replace(scores=candidates.scores / candidates.scores[0])

    found = diversify(
        shares._replace(scores=np.float32(times) * shares.scores), times * vectors, 0.7, 20
    )

    assert found.rows.tolist() == diversify(shares, vectors, 0.7, 20).rows.tolist()
    assert found.rows.tolist() != candidates.rows[:20].tolist()


def test_each_interest_keeps_its_places() -> None:
    rng = np.random.default_rng(0)
    vectors = clustered_vectors(200, 8, 4, rng)[0]
    candidates = pool(vectors, vectors[3], 60)._replace(interests=np.arange(60) % 3)
    quotas = np.array([6, 3, 1])

    for diversity in (0, 0.5, 1):
        found = diversify(candidates, vectors, diversity, 10, quotas=quotas)
        assert np.bincount(found.interests).tolist() == [6, 3, 1]
        assert len(set(found.rows.tolist())) == 10
        assert found.rows[0] == candidates.rows[0]
    plain = diversify(candidates, vectors, 0, 10, quotas=quotas)
    assert (np.diff(plain.scores) <= 0).all()


def test_places_that_a_pool_cannot_fill_go_to_others() -> None:
    vectors = unit_rows(np.eye(4))
    candidates = pool(vectors, vectors[0], 4)

    found = diversify(candidates, vectors, 0.5, 4, quotas=np.array([1, 3]))

    assert sorted(found.rows.tolist()) == [0, 1, 2, 3]


def test_short_pools_and_empty_ones_are_served() -> None:
    vectors = unit_rows(np.eye(3))
    candidates = pool(vectors, vectors[0], 3)

    assert len(diversify(candidates, vectors, 0.5, 10).rows) == 3
    assert len(diversify(candidates.take(slice(0)), vectors, 0.5, 10).rows) == 0


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan")])
def test_diversity_outside_0_to_1_is_refused(diversity: float) -> None:
    vectors = unit_rows(np.eye(3))

    with pytest.raises(ValueError, match="expected 0 to 1"):
        diversify(pool(vectors, vectors[0], 3), vectors, diversity, 2)
