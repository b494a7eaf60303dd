"""hnswlib and ScaNN behind the same few lines as our kinds: build, set, search one user."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from index.search.item_index import SearchResult
from model.arrays import Floats

PACKAGES = {"hnswlib": "hnswlib==0.8.0"}
"""Not in the project's own environment, as ScaNN is: nothing but this benchmark needs it."""

_TRAINING_SAMPLE = 250_000


class RivalIndex(Protocol):
    """An index of somebody else's.

    Attributes:
        bytes_per_item: What it takes of memory, about.
    """

    bytes_per_item: float

    def settings(self) -> Iterator[dict[str, float]]:
        """Enumerate operating points, the cheapest first."""

    def operate_at(self, settings: dict[str, float]) -> None:
        """Change the operating point."""

    def search(self, queries: Floats, n: int) -> SearchResult:
        """Search one user's interests. Shape of ``queries``: (k, d), float32."""


def install(name: str) -> Any | None:
    """Import a rival, installed by pip where it is missing; None where that fails."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if name not in PACKAGES:
            return None
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        done = subprocess.run([*pip, PACKAGES[name]], capture_output=True, check=False)
        if done.returncode:
            return None
        importlib.invalidate_caches()
        return importlib.import_module(name)


class HnswlibIndex:
    """hnswlib's graph over float32 vectors, M = 16."""

    def __init__(self, library: Any, item_vectors: Floats, threads: int) -> None:
        n_items, dim = item_vectors.shape
        self._index = library.Index(space="ip", dim=dim)
        self._index.init_index(max_elements=n_items, M=16, ef_construction=200, random_seed=0)
        self._index.add_items(item_vectors, num_threads=threads)
        self.bytes_per_item = 4.0 * dim + 4 * 2 * 16 + 8

    def settings(self) -> Iterator[dict[str, float]]:
        """See ``RivalIndex.settings``."""
        for ef in (100, 128, 160, 200, 256, 320, 400, 512, 768, 1024):
            yield {"ef": ef}

    def operate_at(self, settings: dict[str, float]) -> None:
        """See ``RivalIndex.operate_at``."""
        self._index.set_ef(int(settings["ef"]))

    def search(self, queries: Floats, n: int) -> SearchResult:
        """See ``RivalIndex.search``."""
        rows, distances = self._index.knn_query(queries, k=n, num_threads=1)
        return SearchResult(1 - distances, rows.astype(np.int64))


class ScannIndex:
    """What our kind ``scann`` is made of, called as ScaNN's documentation does.

    Its tree, asymmetric hashing (two dimensions a code), and reordering with float32.
    """

    def __init__(self, library: Any, item_vectors: Floats, threads: int) -> None:
        n_items, dim = item_vectors.shape
        self._leaves = max(1, round(2 * n_items**0.5))
        builder = library.scann_ops_pybind.builder(item_vectors, 100, "dot_product")
        builder.set_n_training_threads(threads)
        builder.tree(
            num_leaves=self._leaves,
            num_leaves_to_search=10,
            training_sample_size=min(n_items, _TRAINING_SAMPLE),
        )
        builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(400)
        self._searcher = builder.build()
        self._settings: dict[str, float] = {}
        self.bytes_per_item = 4.0 * dim + dim / 4 + 4

    def settings(self) -> Iterator[dict[str, float]]:
        """See ``RivalIndex.settings``."""
        for reorder in (200, 400, 800):
            for leaves in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128):
                if leaves < self._leaves:
                    yield {"leaves": leaves, "reorder": reorder}

    def operate_at(self, settings: dict[str, float]) -> None:
        """See ``RivalIndex.operate_at``."""
        self._settings = settings

    def search(self, queries: Floats, n: int) -> SearchResult:
        """See ``RivalIndex.search``."""
        rows, scores = self._searcher.search_batched(
            queries,
            final_num_neighbors=n,
            pre_reorder_num_neighbors=int(self._settings["reorder"]),
            leaves_to_search=int(self._settings["leaves"]),
        )
        return SearchResult(scores, rows.astype(np.int64))


RIVALS = {"hnswlib": HnswlibIndex, "scann": ScannIndex}
