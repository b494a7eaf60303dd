import faiss
import numpy as np
import pytest

from index.direct import search_directly
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
