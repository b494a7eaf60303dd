import faiss
import numpy as np
import pytest

from index.kinds.kinds import AUTO_KINDS, FLAT, n_lists, named_kinds
from tests.bundles import clustered_vectors


@pytest.mark.parametrize("dim", [16, 17, 64])
def test_faiss_takes_every_kind_that_has_a_name(dim: int) -> None:
    vectors = clustered_vectors(6000, dim, 4, np.random.default_rng(0))[0]

    for kind in named_kinds(*vectors.shape).values():
        index = faiss.index_factory(dim, kind.factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)

        assert index.ntotal == 6000


@pytest.mark.parametrize("kind", named_kinds(20_000, 32))
def test_what_a_kind_takes_is_known_before_it_is_built(kind: str) -> None:
    vectors = clustered_vectors(20_000, 32, 4, np.random.default_rng(0))[0]
    named = named_kinds(*vectors.shape)[kind]
    index = faiss.index_factory(32, named.factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)

    size = faiss.serialize_index(index).nbytes / 20_000

    # Centroids and levels of the graph come on top of what an item takes.
    assert named.bytes_per_item <= size <= 1.15 * named.bytes_per_item + 8


def test_each_kind_that_auto_tries_takes_less_memory_than_the_one_before() -> None:
    kinds = named_kinds(100_000, 64)
    sizes = [kinds[name].bytes_per_item for name in (FLAT, *AUTO_KINDS)]

    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("n_items", "expected"),
    [(1, 1), (100, 2), (20_000, 256), (100_000, 512), (1_000_000, 2048)],
)
def test_lists_grow_with_the_root_of_the_catalog(n_items: int, expected: int) -> None:
    assert n_lists(n_items) == expected
