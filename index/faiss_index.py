"""Search by Faiss: build from a factory string, save, open memory-mapped, search."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from index.direct import rescored, search_directly
from index.item_index import NO_ROW, SearchResult, check_search
from index.kinds import AUTO, FLAT, named_kinds
from index.restricting import lists_of_rows, lists_to_probe, selector_of
from index.transforms import require_inner_products
from model.arrays import Floats, Mask
from model.errors import BundleError, InputError

RESCORING = "rescoring"
"""Parameter of our own: how many times the answers wanted are scored again with the vectors."""

_PLACE_IN_SOURCE = re.compile(r" at \S+:\d+: ")

_LONGEST_QUEUE = 4096
"""Of HNSW's candidates in a restricted search; beyond, the allowed vectors are scored directly."""


class FaissItemIndex:
    """Item vectors in a Faiss index.

    Args:
        index: A trained and filled Faiss index of metric inner product.
        kind: Its name, or the factory string itself.
        factory: The factory string that it was made from.
        item_vectors: The vectors themselves: they complete an answer that came back too short,
            and settle the order where the index rescores. Shape (n_items, d), float32.
        parameters: Its operating point: Faiss's names (``nprobe``, ``efSearch``, …) and
            ``rescoring``. What is not named stays as it is in ``index``.
        threads: OpenMP threads of one search. Every calling thread has its own pool of that
            size, so a service that searches from several threads keeps it at 1.

    Raises:
        ValueError: Faiss knows no such parameter for this index.
    """

    def __init__(
        self,
        index: faiss.Index,
        *,
        kind: str,
        factory: str,
        item_vectors: Floats,
        parameters: Mapping[str, float] | None = None,
        threads: int = 1,
    ) -> None:
        self._index = index
        self._item_vectors = item_vectors
        self._threads = threads
        self._kind = kind
        self.factory = factory
        self.is_exact = factory == "Flat"
        self.parameters: dict[str, float] = {}
        self._rescoring = 1
        self._list_of_row: NDArray[np.int32] | None = None
        self.operate_at(parameters or {})
        # From queries x dimensions = this threshold on (2000 interests of 64 dimensions by
        # default) Faiss takes a matrix product, which rounds differently: a score would then
        # depend on who else asks at the same moment.
        faiss.cvar.distance_compute_blas_threshold = np.iinfo(np.int32).max

    def __repr__(self) -> str:
        return f"<FaissItemIndex {self.kind} {self.n_items} x {self.dim}>"

    @property
    def kind(self) -> str:
        """See ``ItemIndex.kind``."""
        return self._kind

    @property
    def n_items(self) -> int:
        """See ``ItemIndex.n_items``."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """See ``ItemIndex.dim``."""
        return int(self._index.d)

    def parameter_ranges(self) -> dict[str, list[float]]:
        """Return the parameters that Faiss would explore on this index, and the values of each."""
        space = faiss.ParameterSpace()
        space.initialize(self._index)
        ranges = {}
        for number in range(space.parameter_ranges.size()):
            each = space.parameter_ranges.at(number)
            ranges[each.name] = [each.values.at(place) for place in range(each.values.size())]
        return ranges

    def lists_with(self, n: int) -> int:
        """Return how many lists of an inverted file hold n items on average; 0 of other kinds."""
        inverted = faiss.try_extract_index_ivf(self._index)
        return 0 if inverted is None else math.ceil(n * inverted.nlist / self.n_items)

    def operate_at(self, parameters: Mapping[str, float]) -> None:
        """Change the operating point. For whoever tunes or opens: not while others search.

        Raises:
            ValueError: Faiss knows no such parameter for this index.
        """
        space = faiss.ParameterSpace()
        for name, value in parameters.items():
            if name == RESCORING:
                self._rescoring = int(value)
                continue
            try:
                space.set_index_parameter(self._index, name, value)
            except RuntimeError as error:
                raise ValueError(f"{name} is no parameter of {self.factory}") from error
        self.parameters |= parameters

    def search(self, queries: Floats, n: int, *, allowed: Mask | None = None) -> SearchResult:
        """See ``ItemIndex.search``."""
        check_search(self, queries, n, allowed)
        faiss.omp_set_num_threads(self._threads)  # of this calling thread only
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if allowed is None:
            result = self._search(queries, n, None)
        else:
            result = self._search_restricted(queries, n, allowed)
        return result if self.is_exact else self._completed(queries, result, allowed)

    def _search(
        self, queries: Floats, n: int, parameters: faiss.SearchParameters | None
    ) -> SearchResult:
        """Search the Faiss index; score what it found again where that is part of the kind."""
        wanted = max(n, min(n * self._rescoring, self.n_items)) if self._rescoring > 1 else n
        scores, rows = self._index.search(queries, wanted, params=parameters)
        # What is missing comes last: one look at the last column is enough for most searches.
        if (rows[:, -1] == NO_ROW).any():
            scores[rows == NO_ROW] = -np.inf
        result = SearchResult(scores, rows)
        return rescored(result, queries, self._item_vectors, n) if self._rescoring > 1 else result

    def _search_restricted(self, queries: Floats, n: int, allowed: Mask) -> SearchResult:
        """Search among some rows.

        Where that is more work than to score the allowed vectors themselves, they are scored.
        """
        index = self._index
        selector = selector_of(allowed)
        if self.is_exact:
            return self._search(queries, n, faiss.SearchParameters(sel=selector))  # type: ignore[call-arg]
        if isinstance(index, faiss.IndexIVF):
            if self._list_of_row is None:
                self._list_of_row = lists_of_rows(index)
            probes = lists_to_probe(index, self._list_of_row, queries, allowed)
            if (probes <= index.nlist / 2).all():
                # A query's effort is its own: what it finds must not depend on the others.
                found = [
                    self._search(
                        queries[number : number + 1],
                        n,
                        faiss.SearchParametersIVF(sel=selector, nprobe=probed),  # type: ignore[call-arg]
                    )
                    for number, probed in enumerate(probes.tolist())
                ]
                return SearchResult(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        if isinstance(index, faiss.IndexHNSW):
            times = len(allowed) / max(1, int(np.count_nonzero(allowed)))
            queue = math.ceil(index.hnsw.efSearch * times)
            if queue <= _LONGEST_QUEUE:
                parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=queue)  # type: ignore[attr-defined]
                return self._search(queries, n, parameters)
        return search_directly(self._item_vectors, queries, n, np.flatnonzero(allowed))

    def _completed(
        self, queries: Floats, result: SearchResult, allowed: Mask | None
    ) -> SearchResult:
        """Score all vectors for those queries for which the index found too few."""
        if (result.rows[:, -1] != NO_ROW).all():
            return result
        n = result.rows.shape[1]
        rows = None if allowed is None else np.flatnonzero(allowed)
        reachable = self.n_items if rows is None else len(rows)
        short = (result.rows != NO_ROW).sum(axis=1) < min(n, reachable)
        if short.any():
            direct = search_directly(self._item_vectors, queries[short], n, rows)
            result.scores[short], result.rows[short] = direct
        return result

    def with_added(self, item_vectors: Floats) -> "FaissItemIndex":
        """Return an index that holds more items; nothing is trained anew. This one is used up.

        Args:
            item_vectors: All vectors, the new ones after those that are there already.
                Shape (n_items, d), float32.

        Raises:
            InputError: This kind cannot grow.
        """
        self._add(item_vectors[self.n_items :])
        return self._over(item_vectors)

    def with_only(self, item_vectors: Floats) -> "FaissItemIndex":
        """Return an index of other items that keeps what was trained. This one is used up.

        Args:
            item_vectors: Shape (n_items, d), float32.

        Raises:
            InputError: This kind cannot be filled anew.
        """
        self._index.reset()
        self._add(item_vectors)
        return self._over(item_vectors)

    def _add(self, item_vectors: Floats) -> None:
        try:
            self._index.add(np.ascontiguousarray(item_vectors))
        except RuntimeError as error:
            raise InputError(
                f"index of kind {self.kind}: Faiss cannot add to it ({_reason(error)}); build a "
                "bundle of another kind"
            ) from error

    def _over(self, item_vectors: Floats) -> "FaissItemIndex":
        return FaissItemIndex(
            self._index,
            kind=self.kind,
            factory=self.factory,
            item_vectors=item_vectors,
            parameters=self.parameters,
            threads=self._threads,
        )

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
    said = str(error).strip().splitlines()[-1]
    return _PLACE_IN_SOURCE.split(said)[-1].rsplit("Error: ", maxsplit=1)[-1]


def build_faiss_index(
    item_vectors: Floats, *, kind: str = FLAT, threads: int = 1
) -> FaissItemIndex:
    """Train and fill an index; its operating point is Faiss's default until it is tuned.

    Args:
        item_vectors: Shape (n_items, d), float32; row = item row.
        kind: A name of ``index.kinds`` or a Faiss factory string.
        threads: OpenMP threads of the building.

    Raises:
        InputError: Faiss rejects the factory string, or cannot train it on these vectors; or it
            scores by something else than the inner product.
    """
    vectors = np.ascontiguousarray(item_vectors, dtype=np.float32)
    named = named_kinds(*vectors.shape)
    factory = named[kind].factory if kind in named else kind
    faiss.omp_set_num_threads(threads)
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        require_inner_products(index, kind)
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        reason = _reason(error)
        raise InputError(
            f"--kind {kind}: Faiss rejects it for {len(vectors)} vectors of {vectors.shape[1]} "
            f"dimensions ({reason}); take {AUTO}, {', '.join(named)} or a valid factory string"
        ) from error
    rescored = kind in named and named[kind].rescored
    return FaissItemIndex(
        index,
        kind=FLAT if factory == "Flat" else kind,
        factory=factory,
        item_vectors=item_vectors,
        parameters={RESCORING: 2} if rescored else None,
    )


def open_faiss_index(
    path: Path,
    *,
    kind: str,
    factory: str,
    item_vectors: Floats,
    parameters: Mapping[str, float] | None = None,
    threads: int = 1,
    mapped: bool = True,
) -> FaissItemIndex:
    """Open a saved index memory-mapped, so that all workers share one copy.

    Args:
        path: The file that ``FaissItemIndex.save`` wrote.
        kind: The kind, as the manifest holds it.
        factory: The factory string, likewise.
        item_vectors: See ``FaissItemIndex``.
        parameters: The operating point, likewise.
        threads: See ``FaissItemIndex``.
        mapped: Else it is read into memory, and can be changed.

    Raises:
        BundleError: Faiss cannot read the file, or it does not fit the rest.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
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
    try:
        return FaissItemIndex(
            index,
            kind=kind,
            factory=factory,
            item_vectors=item_vectors,
            parameters=parameters,
            threads=threads,
        )
    except ValueError as error:
        raise BundleError(f"{path}: {error}; build the bundle again") from error
