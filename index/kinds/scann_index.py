"""Search by ScaNN, an optional library: a tree, codes of four bits, the best scored by vectors.

Ahead of Faiss on catalogs of some 10,000 to 100,000 items (docs/benchmarks.md), and paid for by
memory: every process has a copy of its own, vectors included, since ScaNN does not map files.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from index.kinds import scann_library
from index.kinds.kinds import AUTO, FLAT
from index.kinds.scann_library import Found, Searcher
from index.kinds.tunable_index import RESCORING, fitting
from index.search.direct import search_directly
from index.search.item_index import SearchResult, check_search, no_answers
from index.tensor_files import open_tensors, write_tensors
from model.arrays import Floats, Mask
from model.errors import BundleError, InputError

LEAVES = "leaves"
"""Parameter: how many leaves of the tree a search looks into."""

_LEAVES_GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_RESCORINGS = (1, 1.5, 2, 3, 4, 6, 8, 12)
_ITEMS_PER_LEAF = 16
"""At least, on average: codes are trained on what remains of a vector beside its leaf's center."""
_UNTUNED = {LEAVES: 10.0, RESCORING: 4.0}

_SPARE = 1.5
_WIDENING = 4
_MOST_FETCHED = 4096
"""Answers fetched in a restricted search; beyond, the allowed vectors are scored directly."""


class _Effort(NamedTuple):
    """How hard a search looks: answers that it fetches, leaves that it looks into."""

    fetched: int
    leaves: int


class ScannItemIndex:
    """Item vectors in a ScaNN searcher.

    Args:
        searcher: A trained and filled one.
        kind: Its name.
        item_vectors: The vectors themselves: they complete an answer that came back too short.
            Shape (n_items, d), float32.
        parameters: Its operating point: ``leaves`` and ``rescoring``.
        threads: OpenMP threads of scoring vectors directly; ScaNN searches on the calling thread.

    Raises:
        ValueError: There is no such parameter, or no such value.
    """

    def __init__(
        self,
        searcher: Searcher,
        *,
        kind: str,
        item_vectors: Floats,
        parameters: Mapping[str, float] | None = None,
        threads: int = 1,
    ) -> None:
        self._searcher = searcher
        self._item_vectors = item_vectors
        self._threads = threads
        self._kind = kind
        codes = scann_library.n_codes(searcher.dim)
        self.factory = f"Tree{searcher.n_leaves},AH{codes}x4,Reorder"
        self.parameters: dict[str, float] = dict(_UNTUNED)
        self.operate_at(parameters or {})

    def __repr__(self) -> str:
        return f"<ScannItemIndex {self.kind} {self.n_items} x {self.dim}>"

    @property
    def kind(self) -> str:
        """See ``ItemIndex.kind``."""
        return self._kind

    @property
    def n_items(self) -> int:
        """See ``ItemIndex.n_items``."""
        return len(self._item_vectors)

    @property
    def dim(self) -> int:
        """See ``ItemIndex.dim``."""
        return self._searcher.dim

    def operating_points(self, n: int) -> Iterator[dict[str, float]]:
        """See ``TunableIndex.operating_points``."""
        most = self._searcher.n_leaves
        least = math.ceil(n * most / self.n_items)
        for leaves, rescoring in itertools.product(fitting(_LEAVES_GRID, least, most), _RESCORINGS):
            yield {LEAVES: leaves, RESCORING: rescoring}

    def operate_at(self, parameters: Mapping[str, float]) -> None:
        """See ``TunableIndex.operate_at``."""
        for name, value in parameters.items():
            if name not in _UNTUNED:
                raise ValueError(f"{name} is no parameter of ScaNN's; expected {list(_UNTUNED)}")
            if not value >= 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        self.parameters |= parameters

    def search(self, queries: Floats, n: int, *, allowed: Mask | None = None) -> SearchResult:
        """See ``ItemIndex.search``.

        ScaNN cannot be told to find some rows only, so a restricted search fetches more, and
        counts what came back. Where that is not enough, or would be more work, the vectors of the
        allowed rows are scored.
        """
        check_search(self, queries, n, allowed)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        reachable = self.n_items if allowed is None else int(np.count_nonzero(allowed))
        wanted = min(n, reachable)
        result = no_answers(len(queries), n)
        if wanted == 0:
            return result
        efforts = self._efforts(wanted, reachable)
        short = []
        for number, query in enumerate(queries):
            found = self._find(query, wanted, allowed, efforts)
            if found is None:
                short.append(number)
            else:
                result.scores[number, :wanted], result.rows[number, :wanted] = found
        if short:
            faiss.omp_set_num_threads(self._threads)  # of this calling thread only
            rows = None if allowed is None else np.flatnonzero(allowed)
            direct = search_directly(self._item_vectors, queries[short], n, rows)
            result.scores[short], result.rows[short] = direct
        return result

    def _efforts(self, wanted: int, reachable: int) -> list[_Effort]:
        """Say how hard to look, until enough is found; less than the allowed vectors are work."""
        leaves = int(self.parameters[LEAVES])
        if reachable == self.n_items:
            return [_Effort(wanted, leaves)]
        # Among as many allowed ones as there are rows when nothing is restricted.
        times = self.n_items / reachable
        efforts = [
            _Effort(math.ceil(_SPARE * more * times * wanted), math.ceil(more * times * leaves))
            for more in (1, _WIDENING)
        ]
        most = min(_MOST_FETCHED, self.n_items)
        quarter = self._searcher.n_leaves / 4  # to score all that is allowed is as fast from there
        return [each for each in efforts if each.fetched <= most and each.leaves <= quarter]

    def _find(
        self, query: Floats, wanted: int, allowed: Mask | None, efforts: list[_Effort]
    ) -> Found | None:
        """Look harder until enough is found for one query; None where it never is.

        Returns:
            Scores and rows, each of shape (wanted,).
        """
        for effort in efforts:
            reordered = math.ceil(self.parameters[RESCORING] * effort.fetched)
            scores, rows = self._searcher.search(
                query, effort.fetched, leaves=effort.leaves, reordered=reordered
            )
            if allowed is not None:
                kept = np.flatnonzero(allowed[rows])[:wanted]
                scores, rows = scores[kept], rows[kept]
            if len(rows) == wanted:
                return scores, rows
        return None

    def bytes_per_item(self, file_bytes: int) -> float:
        """See ``TunableIndex.bytes_per_item``: the vectors come on top of the file, unshared."""
        return file_bytes / self.n_items + self._item_vectors.itemsize * self.dim

    def save(self, path: Path) -> None:
        """See ``TunableIndex.save``."""
        try:
            write_tensors(path, self._searcher.tensors())
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or _in_a_line(error)
            raise InputError(f"{path}: cannot be written ({reason})") from error

    def with_added(self, item_vectors: Floats) -> "ScannItemIndex":
        """See ``TunableIndex.with_added``; nothing is trained anew."""
        self._searcher.add(item_vectors[self.n_items :])
        return self._over(self._searcher, item_vectors)

    def with_only(self, item_vectors: Floats, kept: Mask) -> "ScannItemIndex":
        """See ``TunableIndex.with_only``; what was trained stays.

        ScaNN's own removal would put the last item in the place of the one that goes.
        """
        tensors = scann_library.only(self._searcher.tensors(), kept)
        return self._over(scann_library.read(tensors, item_vectors), item_vectors)

    def _over(self, searcher: Searcher, item_vectors: Floats) -> "ScannItemIndex":
        return ScannItemIndex(
            searcher,
            kind=self.kind,
            item_vectors=item_vectors,
            parameters=self.parameters,
            threads=self._threads,
        )


def build_scann_index(item_vectors: Floats, *, kind: str, threads: int = 1) -> ScannItemIndex:
    """Train and fill an index; its operating point is a guess until it is tuned.

    Args:
        item_vectors: Shape (n_items, d), float32; row = item row.
        kind: The name that it gets.
        threads: Of the training.

    Raises:
        InputError: ScaNN is not installed, or rejects these vectors.
    """
    vectors = np.ascontiguousarray(item_vectors, dtype=np.float32)
    n_items, dim = vectors.shape
    leaves = max(1, min(round(2 * math.sqrt(n_items)), n_items // _ITEMS_PER_LEAF))
    try:
        searcher = scann_library.train(vectors, n_leaves=leaves, threads=threads)
    except ImportError as error:
        raise InputError(
            f"--kind {kind}: ScaNN, which is optional, cannot be loaded ({_in_a_line(error)}); "
            f"{scann_library.INSTALL}, or take --kind {AUTO}"
        ) from error
    except RuntimeError as error:
        raise InputError(
            f"--kind {kind}: ScaNN rejects it for {n_items} vectors of {dim} dimensions "
            f"({_in_a_line(error)}); take --kind {AUTO} or {FLAT}"
        ) from error
    return ScannItemIndex(searcher, kind=kind, item_vectors=item_vectors)


def open_scann_index(
    path: Path,
    *,
    kind: str,
    factory: str,
    item_vectors: Floats,
    parameters: Mapping[str, float] | None = None,
    threads: int = 1,
    mapped: bool = True,  # noqa: ARG001 - ScaNN always copies
) -> ScannItemIndex:
    """Read a saved index into the memory of this process.

    Args:
        path: The file that ``ScannItemIndex.save`` wrote.
        kind: As the manifest holds it.
        factory: Likewise.
        item_vectors: See ``ScannItemIndex``.
        parameters: The operating point, as the manifest holds it.
        threads: See ``ScannItemIndex``.
        mapped: See ``implementations.open_index``.

    Raises:
        BundleError: ScaNN is not installed, cannot read the file, or it does not fit the rest.
    """
    try:
        searcher = scann_library.read(open_tensors(path), item_vectors)
        item_index = ScannItemIndex(
            searcher, kind=kind, item_vectors=item_vectors, parameters=parameters, threads=threads
        )
    except ImportError as error:
        raise BundleError(
            f"{path}: ScaNN, which reads it, cannot be loaded ({_in_a_line(error)}); "
            f"{scann_library.INSTALL}, or build the bundle with another --kind"
        ) from error
    except OSError as error:  # of the files that ScaNN reads it from, not of the one that we read
        reason = error.strerror or _in_a_line(error)
        raise BundleError(
            f"{path}: cannot be handed to ScaNN ({reason}); see that TMPDIR can be written and "
            f"that there is memory for {item_vectors.nbytes:,} bytes twice"
        ) from error
    except (ValueError, RuntimeError, IndexError) as error:
        raise BundleError(f"{path}: {_in_a_line(error)}; build the bundle again") from error
    if item_index.factory != factory:
        raise BundleError(
            f"{path}: is {item_index.factory}, the manifest says {factory}; build the bundle again"
        )
    return item_index


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())
