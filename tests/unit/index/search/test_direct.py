import faiss
import numpy as np
import pytest

from index.search.direct import scores_of, search_directly
from index.search.item_index import NO_ROW
from tests.bundles import unit_rows


@pytest.mark.parametrize("rows", [None, np.arange(0, 3000, 2)])
def test_a_score_does_not_depend_on_the_other_queries(rows: np.typing.NDArray[np.int64]) -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(3000, 48)))
    queries = unit_rows(np.random.default_rng(1).normal(size=(64, 48)))
    # As in a process in which nobody has made a Faiss index.
    faiss.cvar.distance_compute_blas_threshold = 20

    together = search_directly(vectors, queries, 10, rows)

    for number in range(0, 64, 7):
        alone = search_directly(vectors, queries[number : number + 1], 10, rows)
        np.testing.assert_array_equal(alone.rows[0], together.rows[number])
        np.testing.assert_array_equal(alone.scores[0], together.scores[number])


def test_scores_are_the_same_however_many_are_gathered_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 16)).astype(np.float32)
    queries = rng.normal(size=(9, 16)).astype(np.float32)
    rows = rng.integers(NO_ROW, 500, (9, 40))
    at_once = scores_of(rows, queries, vectors)

    for numbers in (1, 2 * 40 * 16, 10**9):
        monkeypatch.setattr("index.search.direct._BLOCK_NUMBERS", numbers)
        np.testing.assert_array_equal(scores_of(rows, queries, vectors), at_once)
    assert np.isneginf(at_once[rows == NO_ROW]).all()
    np.testing.assert_allclose(
        at_once[0][rows[0] >= 0], vectors[rows[0][rows[0] >= 0]] @ queries[0], rtol=1e-5
    )
