"""From the interests of users, or from one item, to candidates.

On an exact index (kind ``flat``) the answer is *the* top n by maximum over interests: whatever is
excluded, with equal scores in item-row order also where the cut falls among them. Hence a shorter
answer is a prefix of a longer one.

On an approximate index the number of candidates and their order by score (ties by row) hold too,
and the same call gives the same answer. The prefix property does not: a search that fetches more
may find an item that a shorter one missed.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from math import ceil
from typing import NamedTuple

import numpy as np

from index.search.cosine import nearest_by_cosine
from index.search.item_index import NO_ROW, ItemIndex, SearchResult
from index.search.merging import Candidates, merge_interests
from index.search.quota import largest_remainder, merge_by_quota
from index.search.wanted import MAX_OVERFETCH, Wanted, wanted_rows
from index.search.withheld import Withheld
from model.arrays import Floats, Mask, Rows

WIDENING = 4
"""How much more is fetched when equal scores reach beyond what was fetched."""

SIMILAR_WIDENING = 10
LEAST_SIMILAR = 1000
"""How many items at least are ranked by cosine where lengths make inner products something else."""

_FETCH_STEP = 32
_LEAST_LENGTH = 1e-12

Aggregate = Callable[[SearchResult, Wanted, int], tuple[Candidates, bool]]
"""Makes candidates of lists, and tells whether nothing outside the lists can change the first n."""


class Wish(NamedTuple):
    """What is to be found for one user.

    Attributes:
        interests: Shape (k, d), float32.
        n: Candidates wanted, at least 1.
        excluded: Rows not wanted, in any order; repeated ones and -1 (unknown item) do no harm.
            Shape (m,), int64.
        allowed: True for the rows that are wanted. Shape (n_items,), bool. None = all.
        shares: Each interest names candidates in proportion to these (``merge_by_quota``). Shape
            (k,), float32 or int64. None = the best items win, whichever interest found them.
    """

    interests: Floats
    n: int
    excluded: Rows = np.empty(0, dtype=np.int64)
    allowed: Mask | None = None
    shares: Floats | Rows | None = None


def retrieve(
    item_index: ItemIndex,
    interests: Floats,
    n: int,
    *,
    excluded: Rows,
    allowed: Mask | None = None,
    shares: Floats | Rows | None = None,
    withheld: Withheld | None = None,
) -> Candidates:
    """Find the n items whose best inner product with any interest is largest.

    Args:
        item_index: What to search.
        interests: See ``Wish``; so are the arguments that are not told here.
        n: Candidates wanted, at least 1.
        excluded: Shape (m,), int64.
        allowed: Shape (n_items,), bool.
        shares: Shape (k,), float32 or int64.
        withheld: Rows that nobody may get, made once for many calls.

    Returns:
        n candidates, or as many as the catalog has under these conditions, best first, ties by
        row. On an exact index those for a smaller ``n`` are the first of those for a larger one;
        on an approximate index, and with ``shares``, they need not be.

    Raises:
        ValueError: ``n`` is below 1, a shape does not fit, or the shares cannot be divided by.
    """
    wish = Wish(interests, n, excluded, allowed, shares)
    return retrieve_together(item_index, [wish], withheld=withheld)[0]


def retrieve_together(
    item_index: ItemIndex, wishes: Sequence[Wish], *, withheld: Withheld | None = None
) -> list[Candidates]:
    """Find for each of several users what ``retrieve`` finds, in as few searches as can be.

    Args:
        item_index: What to search.
        wishes: Of each user.
        withheld: See ``retrieve``.

    Raises:
        ValueError: See ``retrieve``.
    """
    searches = []
    for wish in wishes:
        wanted = wanted_rows(item_index.n_items, wish.excluded, wish.allowed, withheld)
        aggregate = _by_maximum if wish.shares is None else partial(_by_quota, shares=wish.shares)
        searches.append(_search(wish.interests, wish.n, wanted, aggregate))
    return run_together(item_index, searches)


def similar_items(
    item_index: ItemIndex,
    item_vectors: Floats,
    row: int,
    n: int,
    *,
    excluded: Rows | None = None,
    allowed: Mask | None = None,
    withheld: Withheld | None = None,
    unit_vectors: bool = True,
    item_lengths: Floats | None = None,
) -> Candidates:
    """Find the n items nearest to an item by cosine; the item itself is left out.

    Args:
        item_index: What to search.
        item_vectors: Shape (n_items, d), float32.
        row: The item; its vector counts at unit length.
        n: Candidates wanted, at least 1.
        excluded: Rows not wanted. Shape (m,), int64.
        allowed: See ``Wish``.
        withheld: See ``retrieve``. The item itself may be among them.
        unit_vectors: Trained item vectors are of unit length, but for ``item_lengths``. Then the
            index is searched, and a cold item's inner product counts as it is; else all items are
            scored.
        item_lengths: What item vectors were multiplied by, at most 1: it does not count here. A
            wide search by inner product is ranked without it; what is both near and of so small a
            length that it was not found there is missed. Shape (n_items,), float32.

    Returns:
        n candidates, or as many as there are; their interest is 0.

    Raises:
        ValueError: See ``retrieve``.
    """
    itself = np.array([row], dtype=np.int64)
    unwanted = itself if excluded is None else np.concatenate((itself, excluded))
    query = item_vectors[row][np.newaxis]
    # A cold item's vector is shorter, which would make all its scores small.
    query = query / max(float(np.linalg.norm(query)), _LEAST_LENGTH)
    if not unit_vectors:
        mask = np.ones(len(item_vectors), dtype=np.bool_) if allowed is None else allowed.copy()
        mask[unwanted[unwanted >= 0]] = False
        if withheld is not None:
            mask[withheld.rows] = False
        return nearest_by_cosine(item_vectors, query[0], n, mask)
    wide = n if item_lengths is None else max(SIMILAR_WIDENING * n, LEAST_SIMILAR)
    found = retrieve(item_index, query, wide, excluded=unwanted, allowed=allowed, withheld=withheld)
    if item_lengths is None:
        return found
    cosines = found.scores / item_lengths[found.rows]
    order = np.lexsort((found.rows, -cosines))[:n]
    return Candidates(found.rows[order], cosines[order], found.interests[order])


class Lookup(NamedTuple):
    """One search that a retrieval needs.

    Attributes:
        queries: Shape (k, d), float32.
        n: Answers per query.
        allowed: As in ``ItemIndex.search``.
    """

    queries: Floats
    n: int
    allowed: Mask | None


Search = Generator[Lookup, SearchResult, Candidates]
"""Asks for one search after the other until it knows its candidates."""


def run_together(item_index: ItemIndex, searches: Sequence[Search]) -> list[Candidates]:
    """Run searches side by side: those that want as many answers from all rows share a call.

    What one finds does not depend on the others, since it is asked for just what it asked for.
    """
    found: dict[int, Candidates] = {}
    lookups: dict[int, Lookup] = {}

    def go_on(number: int, result: SearchResult | None) -> None:
        search = searches[number]
        try:
            lookups[number] = next(search) if result is None else search.send(result)
        except StopIteration as stopped:
            found[number] = stopped.value

    for number in range(len(searches)):
        go_on(number, None)
    while lookups:
        due, lookups = lookups, {}
        for numbers in _sharing_a_call(due):
            together = [due[number] for number in numbers]
            queries = np.concatenate([each.queries for each in together])
            result = item_index.search(queries, together[0].n, allowed=together[0].allowed)
            ends = np.cumsum([len(each.queries) for each in together])[:-1]
            parts = zip(np.split(result.scores, ends), np.split(result.rows, ends), strict=True)
            for number, (scores, rows) in zip(numbers, parts, strict=True):
                go_on(number, SearchResult(scores, rows))
    return [found[number] for number in range(len(searches))]


def _sharing_a_call(lookups: Mapping[int, Lookup]) -> list[list[int]]:
    """Group lookups: a call has one number of answers and one mask."""
    groups: dict[tuple[int, int | None], list[int]] = {}
    for number, lookup in lookups.items():
        mask = None if lookup.allowed is None else id(lookup.allowed)
        groups.setdefault((lookup.n, mask), []).append(number)
    return list(groups.values())


def _search(interests: Floats, n: int, wanted: Wanted, aggregate: Aggregate) -> Search:
    """Search wider and wider until nothing outside what was found can matter."""
    if n < 1:
        raise ValueError(f"n is {n}, expected at least 1")
    n = min(n, wanted.n_wanted)
    if n < 1:
        return _nothing()
    # One more than can be needed: its score tells whether the cut falls among equal scores.
    fetch = _in_steps(_with_share(n + len(wanted.dropped) + 1, wanted))
    while True:
        if wanted.withheld is not None and fetch > n + len(wanted.dropped) + MAX_OVERFETCH:
            wanted = wanted.all_in_search()
            fetch = _in_steps(n + len(wanted.dropped) + 1)
        fetch = min(fetch, wanted.reachable)
        result = yield Lookup(interests, fetch, wanted.searched)
        found, is_settled = aggregate(result, wanted, n)
        if is_settled or fetch == wanted.reachable:
            return found.take(slice(n))
        fetch *= WIDENING


def _by_maximum(result: SearchResult, wanted: Wanted, n: int) -> tuple[Candidates, bool]:
    merged = wanted.of(merge_interests(result, least=wanted.least_score(result, n)))
    return merged, _is_settled(result, merged, n)


def _by_quota(
    result: SearchResult, wanted: Wanted, n: int, *, shares: Floats | Rows
) -> tuple[Candidates, bool]:
    quotas = largest_remainder(n, shares)
    lists = wanted.in_lists(result)
    # What an interest was not asked for scores at most as its last row, and n items are all
    # that it may need: then the others together hold fewer.
    sure = (lists.rows != NO_ROW) & (lists.scores > result.scores[:, -1:])
    is_settled = bool((sure.sum(axis=1) >= n)[quotas > 0].all())
    return merge_by_quota(lists, quotas), is_settled


def _in_steps(fetch: int) -> int:
    """Round up: users who want about as many answers then share a search.

    By a rule of its own, so that what a user finds does not depend on who else asks.
    """
    return -(-fetch // _FETCH_STEP) * _FETCH_STEP


def _with_share(fetch: int, wanted: Wanted) -> int:
    """Fetch more by the share of the catalog that is withheld, twice that to be on the safe side.

    So withheld rows cost next to nothing, where fetching as many more would cost all requests.
    When a user stands right among them, the search widens.
    """
    if wanted.withheld is None:
        return fetch
    share = len(wanted.withheld.rows) / wanted.reachable
    return ceil(fetch * (1 + 2 * share))


def _is_settled(result: SearchResult, merged: Candidates, n: int) -> bool:
    """Tell whether no item outside ``result`` can belong to the first n.

    What an interest did not return scores at most as its last row. If that lies strictly below
    the n-th candidate for every interest, then candidates, their order and their interests stand.
    """
    return len(merged.rows) >= n and bool((result.scores[:, -1] < merged.scores[n - 1]).all())


def _nothing() -> Candidates:
    rows = np.empty(0, dtype=np.int64)
    return Candidates(rows, np.empty(0, dtype=np.float32), rows)
