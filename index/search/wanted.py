"""What a search may find, and what is dropped from what it found: the rows that are wanted."""

from typing import NamedTuple

import numpy as np

from index.search.item_index import NO_ROW, SearchResult
from index.search.merging import Candidates
from index.search.withheld import Withheld
from model.arrays import Mask, Rows

MAX_OVERFETCH = 4096
"""Above so many excluded rows a selector in the search costs less than fetching more."""


class Wanted(NamedTuple):
    """The rows that are wanted, and how they are come by.

    Attributes:
        searched: The mask to search with. Shape (n_items,), bool. None = all rows.
        reachable: How many rows that search can reach.
        dropped: Rows to drop afterwards, ascending, each once, none of them withheld. Shape (m,),
            int64.
        withheld: More rows to drop; None where the mask leaves them out already.
    """

    searched: Mask | None
    reachable: int
    dropped: Rows
    withheld: Withheld | None

    @property
    def n_wanted(self) -> int:
        """How many rows are wanted."""
        withheld = 0 if self.withheld is None else len(self.withheld.rows)
        return self.reachable - len(self.dropped) - withheld

    def of(self, found: Candidates) -> Candidates:
        """Return those found that are wanted."""
        is_wanted = self._is_wanted(found.rows)
        return found if is_wanted is None else found.take(np.flatnonzero(is_wanted))

    def in_lists(self, result: SearchResult) -> SearchResult:
        """Return the lists with ``NO_ROW`` in the place of what is not wanted."""
        is_wanted = self._is_wanted(result.rows)
        if is_wanted is None:
            return result
        return SearchResult(result.scores, np.where(is_wanted, result.rows, NO_ROW))

    def least_score(self, result: SearchResult, n: int) -> float:
        """Return a score that none of the n best wanted rows lies below; -inf where none is known.

        One interest alone finds n wanted rows, as soon as its list has n more than are unwanted.

        Args:
            result: One query per interest. Shape (k, m).
            n: At least 1.
        """
        unwanted = len(self.dropped)
        if self.withheld is not None:
            unwanted += int(np.count_nonzero(~self.withheld.allowed[result.rows]))
        place = n + unwanted - 1
        return float(result.scores[:, place].max()) if place < result.rows.shape[1] else -np.inf

    def _is_wanted(self, rows: Rows) -> Mask | None:
        """Tell which rows are not to be dropped, in the shape of ``rows``; None for all."""
        is_wanted = None
        if len(self.dropped):
            # np.isin would sort both anew.
            places = np.searchsorted(self.dropped, rows)
            places[places == len(self.dropped)] = 0
            is_wanted = self.dropped[places] != rows
        if self.withheld is not None:
            is_served = self.withheld.allowed[rows]
            is_wanted = is_served if is_wanted is None else is_wanted & is_served
        return is_wanted

    def all_in_search(self) -> "Wanted":
        """Return the same with what is withheld left out by the search."""
        assert self.withheld is not None
        reachable = self.reachable - len(self.withheld.rows)
        return Wanted(self.withheld.allowed, reachable, self.dropped, None)


def wanted_rows(
    n_items: int, excluded: Rows, allowed: Mask | None, withheld: Withheld | None
) -> Wanted:
    """Decide what is dropped after the search and what the search must not find.

    Args:
        n_items: Size of the catalog.
        excluded: See ``retrieval.retrieve``; so are the others. Shape (m,), int64.
        allowed: Shape (n_items,), bool.
        withheld: Rows that nobody may get.
    """
    excluded = np.unique(excluded[excluded >= 0])
    if withheld is not None and len(withheld.rows) == 0:
        withheld = None
    if withheld is not None:
        excluded = excluded[withheld.allowed[excluded]]
    if allowed is None and len(excluded) <= MAX_OVERFETCH:
        return Wanted(None, n_items, excluded, withheld)
    mask = np.ones(n_items, dtype=np.bool_) if allowed is None else allowed.copy()
    mask[excluded] = False
    if withheld is not None:
        mask[withheld.rows] = False
    return Wanted(mask, int(np.count_nonzero(mask)), excluded[:0], None)
