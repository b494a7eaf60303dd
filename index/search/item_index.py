"""The seam: what it means to search item vectors. Says nothing of how, nor of users.

An *item row* is a 0-based int64: row r of the item vectors = row r of the index = row r of the
catalog. There is no padding row at this level.
"""

from typing import NamedTuple, Protocol

import numpy as np

from model.arrays import Floats, Mask, Rows

NO_ROW = -1
"""Stands in ``SearchResult.rows`` where a query has fewer answers than were asked for."""


class SearchResult(NamedTuple):
    """What a search found, best first for each query.

    Attributes:
        scores: Inner products, ``-inf`` where there is no answer. Shape (q, n), float32.
        rows: Item rows, ``NO_ROW`` where there is no answer. Shape (q, n), int64.
    """

    scores: Floats
    rows: Rows


class ItemIndex(Protocol):
    """Item vectors that can be searched by inner product (vectors need not have unit length).

    Every implementation promises: a query finds ``min(n, number of allowed rows)`` items, no item
    twice; the answer to a query does not depend on the other queries of the call; the same call
    gives the same answer; calls from several threads at once are safe. Which of several items
    with the very same score are found at the cut, and in which order, is not promised:
    ``retrieve`` settles that. Nor is it promised, but of an exact index (kinds ``exact``,
    ``flat``), that the first n answers to a query for more are those to a query for n: an
    approximate one may find with a larger n what it missed with a smaller one.
    """

    @property
    def kind(self) -> str:
        """Name of the implementation, for the manifest and for metrics."""

    @property
    def n_items(self) -> int:
        """Number of item rows."""

    @property
    def dim(self) -> int:
        """d, the length of an item vector."""

    def search(self, queries: Floats, n: int, *, allowed: Mask | None = None) -> SearchResult:
        """Find the items with the largest inner product for each query.

        Args:
            queries: Shape (q, d), float32.
            n: Answers per query, at least 1; may exceed the number of items.
            allowed: True for the rows that may be found. Shape (n_items,), bool. None = all.

        Returns:
            Scores and rows, each of shape (q, n).

        Raises:
            ValueError: A shape does not fit, or ``n`` is below 1.
        """


def check_search(item_index: ItemIndex, queries: Floats, n: int, allowed: Mask | None) -> None:
    """Raise the ValueError that ``ItemIndex.search`` promises."""
    if queries.ndim != 2 or queries.shape[1] != item_index.dim:  # noqa: PLR2004 - a matrix
        raise ValueError(f"queries have shape {queries.shape}, expected (q, {item_index.dim})")
    if n < 1:
        raise ValueError(f"n is {n}, expected at least 1")
    if allowed is not None and allowed.shape != (item_index.n_items,):
        raise ValueError(f"allowed has shape {allowed.shape}, expected ({item_index.n_items},)")


def no_answers(n_queries: int, n: int) -> SearchResult:
    """Make a result in which nothing was found. Shape (n_queries, n)."""
    return SearchResult(
        np.full((n_queries, n), -np.inf, dtype=np.float32),
        np.full((n_queries, n), NO_ROW, dtype=np.int64),
    )
