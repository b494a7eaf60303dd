"""Search by Faiss, add to its index and save it; ``index.kinds.faiss_files`` builds and opens."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from index.kinds.faiss_points import operating_points
from index.kinds.restricting import lists_of_rows, lists_to_probe, selector_of
from index.kinds.tunable_index import RESCORING
from index.search.direct import rescored, score_each_query_alone, search_directly
from index.search.item_index import NO_ROW, SearchResult, check_search
from model.arrays import Floats, Mask
from model.errors import InputError

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
        score_each_query_alone()

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

    def operating_points(self, n: int) -> Iterator[dict[str, float]]:
        """See ``TunableIndex.operating_points``."""
        rescores = RESCORING in self.parameters
        return operating_points(self._index, n, rescores=rescores)

    def bytes_per_item(self, file_bytes: int) -> float:
        """See ``TunableIndex.bytes_per_item``; what is mapped takes what the file does."""
        return file_bytes / self.n_items

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
        """See ``TunableIndex.with_added``; nothing is trained anew."""
        self._add(item_vectors[self.n_items :])
        return self._over(item_vectors)

    def with_only(self, item_vectors: Floats, kept: Mask) -> "FaissItemIndex":  # noqa: ARG002
        """See ``TunableIndex.with_only``; what was trained stays, all are added again."""
        self._index.reset()
        self._add(item_vectors)
        return self._over(item_vectors)

    def _add(self, item_vectors: Floats) -> None:
        try:
            self._index.add(np.ascontiguousarray(item_vectors))
        except RuntimeError as error:
            raise InputError(
                f"index of kind {self.kind}: Faiss cannot add to it ({reason_of(error)}); build a "
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
            raise InputError(f"{path}: cannot be written ({reason_of(error)})") from error


def reason_of(error: RuntimeError) -> str:
    """Return what Faiss says, without its place in Faiss's source and in one line."""
    said = str(error).strip().splitlines()[-1]
    return _PLACE_IN_SOURCE.split(said)[-1].rsplit("Error: ", maxsplit=1)[-1]
