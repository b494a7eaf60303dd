import numpy as np
import pytest

from index.bundles.tuning import Point, choose, explore, know_exactly, measure_point
from index.kinds.faiss_files import build_faiss_index
from index.kinds.implementations import build_index
from model.arrays import Floats
from tests.bundles import clustered_vectors, unit_rows
from tests.optional import SCANN


@pytest.fixture(scope="module")
def vectors() -> Floats:
    return clustered_vectors(8000, 16, 4, np.random.default_rng(1))[0]


@pytest.fixture(scope="module")
def interests(vectors: Floats) -> Floats:
    """Means of a few items of a cluster each. Shape (20, 4, 16)."""
    rng = np.random.default_rng(2)
    users = [
        [vectors[rng.integers(0, 2000, 3) * 4 + cluster].mean(axis=0) for cluster in range(4)]
        for _ in range(20)
    ]
    return unit_rows(np.array(users).reshape(-1, 16)).reshape(20, 4, 16)


def test_an_exact_index_finds_everything(vectors: Floats, interests: Floats) -> None:
    truth = know_exactly(vectors, interests)

    point = measure_point(build_faiss_index(vectors), vectors, truth, {})

    assert truth.top == 100
    assert point.recall == 1.0
    assert point.milliseconds > 0


@pytest.mark.parametrize(
    "kind", ["ivf-sq", "ivf-sq8", "ivf-pq", "hnsw", "IVF32,PQ8x4fs,RFlat", SCANN]
)
def test_more_effort_finds_more(kind: str, vectors: Floats, interests: Floats) -> None:
    truth = know_exactly(vectors, interests)
    item_index = build_index(vectors, kind=kind)

    curve = explore(item_index, vectors, truth, target=0.95)

    assert [point.recall for point in curve] == sorted(point.recall for point in curve)
    assert [point.milliseconds for point in curve] == sorted(p.milliseconds for p in curve)
    assert curve[-1].recall > 0.95
    # What the curve says is what the index does when it is set so again.
    item_index.operate_at(curve[0].parameters)
    again = measure_point(item_index, vectors, truth, curve[0].parameters)
    assert again.recall == curve[0].recall


def test_recall_is_measured_against_numpy(vectors: Floats, interests: Floats) -> None:
    item_index = build_faiss_index(vectors, kind="ivf-sq")
    item_index.operate_at({"nprobe": 4})

    point = measure_point(item_index, vectors, know_exactly(vectors, interests), {"nprobe": 4})

    exact = np.argsort(-(interests.reshape(-1, 16) @ vectors.T), axis=1)[:, :100]
    found = item_index.search(interests.reshape(-1, 16), 100).rows
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    assert 0 < point.recall < 1
    assert point.recall == pytest.approx(np.mean(hits) / 100, abs=2e-3)


def test_the_fastest_point_that_keeps_the_promise_is_chosen() -> None:
    points = [Point({"nprobe": n}, recall, n) for n, recall in ((1, 0.8), (2, 0.96), (4, 0.99))]

    assert choose(points, 0.95) == points[1]
    assert choose(points, 0.97) == points[2]
    assert choose(points, 0.995) is None


def test_a_catalog_smaller_than_the_list_is_searched_whole(interests: Floats) -> None:
    vectors = clustered_vectors(30, 16, 4, np.random.default_rng(3))[0]

    truth = know_exactly(vectors, interests)

    assert truth.top == 30
    assert measure_point(build_faiss_index(vectors), vectors, truth, {}).recall == 1.0
