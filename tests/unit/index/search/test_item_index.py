"""Every ItemIndex against NumPy: what the seam promises, whatever stands behind it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from index.kinds.faiss_files import build_faiss_index, open_faiss_index
from index.kinds.implementations import build_index, open_index
from index.search.exact import ExactItemIndex
from index.search.item_index import NO_ROW, ItemIndex
from model.arrays import Floats, Mask
from tests.bundles import clustered_vectors, unit_rows
from tests.optional import needs_scann

N_ITEMS, DIM = 500, 16

Maker = Callable[[Floats, Path], ItemIndex]


def exact(vectors: Floats, folder: Path) -> ItemIndex:
    return ExactItemIndex(vectors)


def flat(vectors: Floats, folder: Path) -> ItemIndex:
    return build_faiss_index(vectors)


def reopened_flat(vectors: Floats, folder: Path) -> ItemIndex:
    built = build_faiss_index(vectors, kind="flat")
    built.save(folder / "index.faiss")
    return open_faiss_index(
        folder / "index.faiss", kind=built.kind, factory=built.factory, item_vectors=vectors
    )


def hnsw(vectors: Floats, folder: Path) -> ItemIndex:
    return build_faiss_index(vectors, kind="HNSW16")


def ivf(vectors: Floats, folder: Path) -> ItemIndex:
    return build_faiss_index(vectors, kind="IVF4,Flat")


def ivf_sq(vectors: Floats, folder: Path) -> ItemIndex:
    built = build_faiss_index(vectors, kind="ivf-sq")
    built.operate_at({"nprobe": 4})
    return built


def rescored(vectors: Floats, folder: Path) -> ItemIndex:
    """Reopened: its operating point comes from the manifest."""
    built = build_faiss_index(vectors, kind="ivf-pq")
    built.save(folder / "index.faiss")
    return open_faiss_index(
        folder / "index.faiss",
        kind=built.kind,
        factory=built.factory,
        item_vectors=vectors,
        parameters={"nprobe": 6, "rescoring": 3},
    )


def scann(vectors: Floats, folder: Path) -> ItemIndex:
    built = build_index(vectors, kind="scann")
    built.operate_at({"leaves": 12, "rescoring": 3})
    return built


def reopened_scann(vectors: Floats, folder: Path) -> ItemIndex:
    built = build_index(vectors, kind="scann")
    built.save(folder / "index.scann")
    return open_index(
        folder,
        kind=built.kind,
        factory=built.factory,
        item_vectors=vectors,
        parameters={"leaves": 6, "rescoring": 2},
    )


EXACT_MAKERS = [exact, flat, reopened_flat]
SCANN_MAKERS = [pytest.param(each, marks=needs_scann) for each in (scann, reopened_scann)]
ALL_MAKERS = [*EXACT_MAKERS, hnsw, ivf, ivf_sq, rescored, *SCANN_MAKERS]


@pytest.fixture(scope="module")
def vectors() -> Floats:
    return clustered_vectors(N_ITEMS, DIM, 4, np.random.default_rng(1))[0]


@pytest.fixture(scope="module")
def queries() -> Floats:
    return unit_rows(np.random.default_rng(2).normal(size=(600, DIM)))


def truth(vectors: Floats, queries: Floats, allowed: Mask | None) -> Floats:
    """All scores, -inf where not allowed. Shape (q, n_items)."""
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    return scores.astype(np.float32)


@pytest.mark.parametrize("make", EXACT_MAKERS)
@pytest.mark.parametrize("n_queries", [1, 8, 64])
@pytest.mark.parametrize("n", [1, 10, 100, 499, 500, 700])
@pytest.mark.parametrize("share_allowed", [None, 0.5, 0.01])
def test_exact_kinds_find_what_numpy_finds(  # noqa: PLR0917 - pytest passes them by name
    make: Maker,
    n_queries: int,
    n: int,
    share_allowed: float | None,
    vectors: Floats,
    queries: Floats,
    tmp_path: Path,
) -> None:
    allowed = None
    if share_allowed is not None:
        allowed = np.random.default_rng(3).random(N_ITEMS) < share_allowed
        allowed[7] = True
    item_index = make(vectors, tmp_path)
    scores = truth(vectors, queries[:n_queries], allowed)
    best = -np.sort(-scores, axis=1)[:, :n]

    for _ in range(2):  # searching changes nothing
        found = item_index.search(queries[:n_queries], n, allowed=allowed)

        assert found.scores.shape == found.rows.shape == (n_queries, n)
        assert found.scores.dtype == np.float32
        assert found.rows.dtype == np.int64
        np.testing.assert_allclose(found.scores[:, : best.shape[1]], best, atol=1e-6)
        real = found.rows != NO_ROW
        assert (real.sum(axis=1) == min(n, N_ITEMS if allowed is None else allowed.sum())).all()
        assert np.isneginf(found.scores[~real]).all()
        by_row = np.take_along_axis(scores, np.where(real, found.rows, 0), axis=1)
        np.testing.assert_allclose(found.scores[real], by_row[real], atol=1e-6)
        assert all(len(set(rows[rows != NO_ROW])) == (rows != NO_ROW).sum() for rows in found.rows)


@pytest.mark.parametrize("make", ALL_MAKERS)
@pytest.mark.parametrize("n", [1, 10, 120])
def test_an_answer_does_not_depend_on_the_other_queries(
    make: Maker, n: int, vectors: Floats, queries: Floats, tmp_path: Path
) -> None:
    item_index = make(vectors, tmp_path)
    alone = [item_index.search(queries[i : i + 1], n) for i in range(4)]

    for size in (4, 19, 20, 21, 64, 600):
        together = item_index.search(queries[:size], n)

        for i, single in enumerate(alone):
            np.testing.assert_array_equal(together.rows[i], single.rows[0])
            np.testing.assert_array_equal(together.scores[i], single.scores[0])


@pytest.mark.parametrize("make", [flat, reopened_flat])
def test_a_very_large_call_gives_the_same_scores(
    make: Maker, vectors: Floats, tmp_path: Path
) -> None:
    """From 128,000 / dimensions queries on, Faiss by default takes a matrix product."""
    queries = unit_rows(np.random.default_rng(4).normal(size=(128_000 // DIM + 1, DIM)))
    item_index = make(vectors, tmp_path)
    alone = item_index.search(queries[:50], 10)

    together = item_index.search(queries, 10)

    np.testing.assert_array_equal(together.scores[:50], alone.scores)
    np.testing.assert_array_equal(together.rows[:50], alone.rows)


@pytest.mark.parametrize("make", EXACT_MAKERS)
def test_a_score_depends_neither_on_n_nor_on_what_is_allowed(
    make: Maker, vectors: Floats, queries: Floats, tmp_path: Path
) -> None:
    item_index = make(vectors, tmp_path)
    allowed = np.random.default_rng(3).random(N_ITEMS) < 0.3

    whole = item_index.search(queries[:2], N_ITEMS)
    scores = np.empty((2, N_ITEMS), dtype=np.float32)
    np.put_along_axis(scores, whole.rows, whole.scores, axis=1)
    for n, mask in [(5, None), (150, None), (5, allowed), (100, allowed)]:
        found = item_index.search(queries[:2], n, allowed=mask)
        by_row = np.take_along_axis(scores, found.rows, axis=1)
        np.testing.assert_array_equal(found.scores, by_row)


@pytest.mark.parametrize("make", ALL_MAKERS)
def test_every_kind_finds_as_many_as_there_are(
    make: Maker, vectors: Floats, queries: Floats, tmp_path: Path
) -> None:
    item_index = make(vectors, tmp_path)
    allowed = np.zeros(N_ITEMS, dtype=np.bool_)
    allowed[[3, 5, 400]] = True

    everything = item_index.search(queries[:5], N_ITEMS + 1)
    few = item_index.search(queries[:5], 4, allowed=allowed)
    none = item_index.search(queries[:5], 2, allowed=np.zeros(N_ITEMS, dtype=np.bool_))

    assert all(sorted(rows) == list(range(-1, N_ITEMS)) for rows in everything.rows)
    assert all(sorted(rows) == [-1, 3, 5, 400] for rows in few.rows)
    assert (none.rows == NO_ROW).all()


@pytest.mark.parametrize("make", ALL_MAKERS)
def test_searches_from_several_threads_do_not_disturb_each_other(
    make: Maker, vectors: Floats, queries: Floats, tmp_path: Path
) -> None:
    item_index = make(vectors, tmp_path)
    expected = [item_index.search(queries[i : i + 4], 20).rows for i in range(40)]

    with ThreadPoolExecutor(4) as threads:
        found = list(
            threads.map(lambda i: item_index.search(queries[i : i + 4], 20).rows, range(40))
        )

    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("make", ALL_MAKERS)
def test_wrong_arguments_are_refused(make: Maker, vectors: Floats, tmp_path: Path) -> None:
    item_index = make(vectors, tmp_path)
    good = np.zeros((1, DIM), dtype=np.float32)

    with pytest.raises(ValueError, match=r"expected \(q, 16\)"):
        item_index.search(np.zeros((1, 3), dtype=np.float32), 1)
    with pytest.raises(ValueError, match="n is 0"):
        item_index.search(good, 0)
    with pytest.raises(ValueError, match="allowed has shape"):
        item_index.search(good, 1, allowed=np.ones(3, dtype=np.bool_))


@pytest.mark.parametrize("make", [*EXACT_MAKERS, hnsw])  # k-means needs more for IVF
def test_one_item_is_a_catalog(make: Maker, tmp_path: Path) -> None:
    vectors = unit_rows(np.ones((1, DIM)))

    found = make(vectors, tmp_path).search(vectors, 3)

    assert found.rows.tolist() == [[0, NO_ROW, NO_ROW]]


@pytest.mark.parametrize("make", ALL_MAKERS)
def test_an_index_tells_what_it_is(make: Maker, vectors: Floats, tmp_path: Path) -> None:
    item_index = make(vectors, tmp_path)

    assert (item_index.n_items, item_index.dim) == (N_ITEMS, DIM)
    assert item_index.kind in {"exact", "flat", "HNSW16", "IVF4,Flat", "ivf-sq", "ivf-pq", "scann"}
    assert f"{N_ITEMS} x {DIM}" in repr(item_index)
