"""Search by Faiss: build from a factory string, save, open memory-mapped, search.

Exact (``Flat``) is what ``auto`` takes for now. Any factory string works; the search parameters
are then Faiss's defaults, and ``index.build`` refuses what does not reach the promised recall.
"""

from pathlib import Path

import faiss
import numpy as np

from index.exact import ExactItemIndex
from index.item_index import NO_ROW, SearchResult, check_search
from model.arrays import Floats, Mask
from model.errors import BundleError, InputError

FACTORIES = {"auto": "Flat", "flat": "Flat"}
"""The kinds that have a name; every other kind is a factory string itself."""


class FaissItemIndex:
    """Item vectors in a Faiss index.

    Args:
        index: A trained and filled Faiss index of metric inner product.
        factory: The factory string that it was made from.
        item_vectors: The vectors themselves, from which an approximate index completes an answer
            that came back too short. Shape (n_items, d), float32.
        threads: OpenMP threads of one search. Every calling thread has its own pool of that
            size, so a service that searches from several threads keeps it at 1.
    """

    def __init__(
        self, index: faiss.Index, *, factory: str, item_vectors: Floats, threads: int = 1
    ) -> None:
        self._index = index
        self._exact = ExactItemIndex(item_vectors)
        self._threads = threads
        self.factory = factory
        self.is_exact = factory == "Flat"
        # From queries x dimensions = this threshold on (2000 interests of 64 dimensions by
        # default) Faiss takes a matrix product, which rounds differently: a score would then
        # depend on who else asks at the same moment.
        faiss.cvar.distance_compute_blas_threshold = np.iinfo(np.int32).max

    def __repr__(self) -> str:
        return f"<FaissItemIndex {self.factory} {self.n_items} x {self.dim}>"

    @property
    def kind(self) -> str:
        """See ``ItemIndex.kind``."""
        return "flat" if self.is_exact else self.factory

    @property
    def n_items(self) -> int:
        """See ``ItemIndex.n_items``."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """See ``ItemIndex.dim``."""
        return int(self._index.d)

    def search(self, queries: Floats, n: int, *, allowed: Mask | None = None) -> SearchResult:
        """See ``ItemIndex.search``."""
        check_search(self, queries, n, allowed)
        if allowed is not None and not self.is_exact:
            # Selectors inside approximate kinds need their own parameters, and return too few.
            return self._exact.search(queries, n, allowed=allowed)
        parameters = None
        if allowed is not None:
            parameters = _restricted_to(allowed)
        faiss.omp_set_num_threads(self._threads)  # of this calling thread only
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        scores, rows = self._index.search(queries, n, params=parameters)
        scores[rows == NO_ROW] = -np.inf
        result = SearchResult(scores, rows)
        return result if self.is_exact else self._completed(queries, result)

    def _completed(self, queries: Floats, result: SearchResult) -> SearchResult:
        """Answer exactly those queries for which the index found too few."""
        n = result.rows.shape[1]
        short = (result.rows != NO_ROW).sum(axis=1) < min(n, self.n_items)
        if short.any():
            result.scores[short], result.rows[short] = self._exact.search(queries[short], n)
        return result

    def save(self, path: Path) -> None:
        """Write the index to a file.

        Raises:
            InputError: It cannot be written, on a full disk for example.
        """
        try:
            faiss.write_index(self._index, str(path))
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be written ({_reason(error)})") from error


def _reason(error: RuntimeError) -> str:
    """Return what Faiss says, without its place in Faiss's source and in one line."""
    return str(error).strip().splitlines()[-1].rsplit(": Error: ", maxsplit=1)[-1]


def _restricted_to(allowed: Mask) -> faiss.SearchParameters:
    """Make the parameters that let a search find these rows only. Shape (n_items,), bool."""
    bits = np.packbits(allowed, bitorder="little")
    # Faiss's Python layer replaces both constructors; its type stubs know only those of C++.
    selector = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
    return faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]


def build_faiss_index(
    item_vectors: Floats, *, kind: str = "auto", threads: int = 1
) -> FaissItemIndex:
    """Train and fill an index.

    Args:
        item_vectors: Shape (n_items, d), float32; row = item row.
        kind: ``auto``, ``flat`` or a Faiss factory string.
        threads: See ``FaissItemIndex``.

    Raises:
        InputError: Faiss rejects the factory string, or cannot train it on these vectors.
    """
    factory = FACTORIES.get(kind, kind)
    vectors = np.ascontiguousarray(item_vectors, dtype=np.float32)
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        reason = _reason(error)
        raise InputError(
            f"--kind {kind}: Faiss rejects it for {len(vectors)} vectors of {vectors.shape[1]} "
            f"dimensions ({reason}); take auto, flat or a valid factory string"
        ) from error
    return FaissItemIndex(index, factory=factory, item_vectors=item_vectors, threads=threads)


def open_faiss_index(
    path: Path, *, factory: str, item_vectors: Floats, threads: int = 1
) -> FaissItemIndex:
    """Open a saved index memory-mapped, so that all workers share one copy.

    Args:
        path: The file that ``FaissItemIndex.save`` wrote.
        factory: The factory string, as the manifest holds it.
        item_vectors: See ``FaissItemIndex``.
        threads: See ``FaissItemIndex``.

    Raises:
        BundleError: Faiss cannot read the file, or it does not fit ``item_vectors``.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        reason = _reason(error)
        raise BundleError(f"{path}: Faiss cannot read it ({reason}); build it again") from error
    if (index.ntotal, index.d) != item_vectors.shape:
        raise BundleError(
            f"{path}: holds {index.ntotal} vectors of {index.d} dimensions, the encoder "
            f"{item_vectors.shape[0]} of {item_vectors.shape[1]}; build the bundle again"
        )
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise BundleError(f"{path}: its metric is not inner product; build the bundle again")
    return FaissItemIndex(index, factory=factory, item_vectors=item_vectors, threads=threads)
