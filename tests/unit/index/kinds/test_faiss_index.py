from pathlib import Path

import faiss
import numpy as np
import pytest

from index.kinds.faiss_files import build_faiss_index, open_faiss_index
from index.search.exact import ExactItemIndex
from model.arrays import Floats
from model.errors import BundleError, InputError
from tests.bundles import clustered_vectors, unit_rows


@pytest.fixture(scope="module")
def vectors() -> Floats:
    return clustered_vectors(2000, 16, 4, np.random.default_rng(1))[0]


@pytest.mark.parametrize(("kind", "floor"), [("HNSW32", 0.9), ("IVF4,Flat", 0.5), ("SQ8", 0.9)])
def test_approximate_kinds_reach_their_recall_floor(
    kind: str, floor: float, vectors: Floats, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    # Like interests: the mean of a few items of one cluster (every fourth item).
    queries = unit_rows(
        np.stack([vectors[rng.integers(0, 500, 3) * 4].mean(axis=0) for _ in range(50)])
    )
    exact = ExactItemIndex(vectors).search(queries, 10).rows
    built = build_faiss_index(vectors, kind=kind)
    built.save(tmp_path / "index")
    opened = open_faiss_index(tmp_path / "index", kind=kind, factory=kind, item_vectors=vectors)

    for item_index in (built, opened):
        found = item_index.search(queries, 10).rows
        hits = [len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)]
        assert np.mean(hits) / 10 >= floor


@pytest.mark.parametrize("kind", ["nonsense", "IVF4096,Flat", "PQ7", ""])
def test_a_factory_string_that_faiss_rejects_is_named(kind: str) -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(100, 16)))

    with pytest.raises(InputError, match=rf"--kind {kind}: Faiss rejects it") as caught:
        build_faiss_index(vectors, kind=kind)

    assert "\n" not in str(caught.value)
    assert ".cpp:" not in str(caught.value)


def test_a_file_that_is_no_index_is_refused(vectors: Floats, tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"not an index at all, but long enough to be read")

    with pytest.raises(BundleError, match="index: Faiss cannot read it"):
        open_faiss_index(path, kind="flat", factory="Flat", item_vectors=vectors)


def test_an_index_of_other_vectors_is_refused(vectors: Floats, tmp_path: Path) -> None:
    build_faiss_index(vectors[:100]).save(tmp_path / "index")

    with pytest.raises(BundleError, match="holds 100 vectors of 16 dimensions, the encoder 2000"):
        open_faiss_index(tmp_path / "index", kind="flat", factory="Flat", item_vectors=vectors)


def test_an_index_of_another_metric_is_refused(vectors: Floats, tmp_path: Path) -> None:
    index = faiss.index_factory(16, "Flat", faiss.METRIC_L2)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "index"))

    with pytest.raises(BundleError, match="metric is not inner product"):
        open_faiss_index(tmp_path / "index", kind="flat", factory="Flat", item_vectors=vectors)


def test_a_file_that_cannot_be_written_is_named(vectors: Floats, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing/index: cannot be written"):
        build_faiss_index(vectors).save(tmp_path / "missing" / "index")


def test_an_opened_index_is_mapped_not_read(vectors: Floats, tmp_path: Path) -> None:
    path = tmp_path / "index"
    build_faiss_index(vectors).save(path)

    opened = open_faiss_index(path, kind="flat", factory="Flat", item_vectors=vectors)

    assert opened.n_items == 2000
    assert str(path) in Path("/proc/self/maps").read_text()


def test_a_search_uses_the_threads_that_it_was_given(vectors: Floats, tmp_path: Path) -> None:
    path = tmp_path / "index"
    build_faiss_index(vectors).save(path)
    for threads in (2, 1):
        opened = open_faiss_index(
            path, kind="flat", factory="Flat", item_vectors=vectors, threads=threads
        )
        opened.search(vectors[:1], 1)

        assert faiss.omp_get_max_threads() == threads
