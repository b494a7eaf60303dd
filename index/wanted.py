"""What a search may find, and what is dropped from what it found: the rows that are wanted."""

from typing import NamedTuple

import numpy as np

from index.item_index import NO_ROW, SearchResult
from index.merging import Candidates
from index.withheld import Withheld
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
        if len(self.dropped):
            found = found.take(np.flatnonzero(~np.isin(found.rows, self.dropped)))
        if self.withheld is not None:
            found = found.take(np.flatnonzero(self.withheld.allowed[found.rows]))
        return found

    def in_lists(self, result: SearchResult) -> SearchResult:
        """Return the lists with ``NO_ROW`` in the place of what is not wanted."""
        is_wanted = ~np.isin(result.rows, self.dropped)
        if self.withheld is not None:
            is_wanted &= self.withheld.allowed[result.rows]
        return SearchResult(result.scores, np.where(is_wanted, result.rows, NO_ROW))

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
