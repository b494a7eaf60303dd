"""A request's life without HTTP, cache or queue: a query and a bundle in, an answer out.

Pure functions. The same query on the same bundle gives the same answer to the last byte.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.bundle import Bundle
from index.diversity import diversify
from index.merging import Candidates
from index.quota import largest_remainder
from index.retrieval import retrieve, retrieve_by_quota, similar_items
from index.withheld import Withheld
from model.arrays import Rows
from model.inference import Interests
from service.answers import (
    Candidate,
    InterestsAnswer,
    InterestSummary,
    InterestVector,
    SimilarAnswer,
    SimilarItem,
    StoredAnswer,
)
from service.explaining import DECIMALS, Explainer, item_fields
from service.query import Query

Mask = NDArray[np.bool_]
Stage = Callable[[str], AbstractContextManager[None]]

# Shares of all interactions are small numbers.
_SHARE_DECIMALS = 9

# With diversity, candidates are chosen among so many more than are wanted.
_POOL_FACTOR = 3
_POOL_MORE = 500


class Match(NamedTuple):
    """An answer and what the metrics want to know of it.

    Attributes:
        answer: What the query and the bundle determine.
        is_fallback: Nothing of the history was known; these are popular items.
        known_items: Interactions whose item the bundle knows.
        interests_in_use: Interests that hold at least one interaction.
    """

    answer: StoredAnswer
    is_fallback: bool
    known_items: int
    interests_in_use: int


def match(
    bundle: Bundle,
    query: Query,
    *,
    withheld: Withheld | None = None,
    stage: Stage = lambda _: nullcontext(),
) -> Match:
    """Answer a query from a bundle.

    What is withheld is no candidate, whatever is asked; in the history it still describes the user.

    Args:
        bundle: The live bundle.
        query: What is asked.
        withheld: Rows of this bundle that must not be candidates.
        stage: Measures a stage by name: encode, search, rank.
    """
    rows = bundle.catalog.rows_of(query.history)
    known = rows[rows >= 0]
    excluded = bundle.catalog.rows_of(query.exclude)
    if query.exclude_seen:
        excluded = np.concatenate((excluded, known))
    allowed = _allowed_rows(bundle, query)
    if len(known) == 0:
        interests, explainer, quotas = None, None, None
        candidates = popular_items(
            bundle, query.top_k, excluded=excluded, allowed=allowed, withheld=withheld
        )
    else:
        with stage("encode"):
            interests = bundle.encoder.encode(known)
        quotas = _quotas(query, interests)
        with stage("search"):
            search = retrieve if quotas is None else partial(retrieve_by_quota, weights=quotas)
            candidates = search(
                bundle.item_index,
                interests.vectors,
                _pool_size(query),
                excluded=excluded,
                allowed=allowed,
                withheld=withheld,
            )
        explainer = Explainer(bundle, known, interests)
    with stage("rank"):
        if query.diversity > 0 and interests is not None:
            vectors = bundle.encoder.item_vectors
            candidates = diversify(candidates, vectors, query.diversity, query.top_k, quotas=quotas)
        answer = StoredAnswer(
            bundle_version=bundle.version,
            unknown_items=len(rows) - len(known),
            interests=_summaries(interests, explainer),
            candidates=_candidates(bundle, candidates, explainer, explain=query.explain),
        )
    in_use = 0 if interests is None else int(np.count_nonzero(interests.counts))
    return Match(answer, interests is None, len(known), in_use)


def popular_items(
    bundle: Bundle,
    n: int,
    *,
    excluded: Rows,
    allowed: Mask | None = None,
    withheld: Withheld | None = None,
) -> Candidates:
    """Return the n most popular items: the answer for a user of whom nothing is known.

    Args:
        bundle: The live bundle.
        n: Candidates wanted.
        excluded: Rows not wanted; -1 does no harm. Shape (m,), int64.
        allowed: True for the rows that are wanted. Shape (n_items,), bool. None = all.
        withheld: Rows that nobody may get.

    Returns:
        n candidates, or as many as there are; scores are shares of all interactions, and the
        interest is -1.
    """
    # Without a restriction the first n + m of the list are sure to hold n that are wanted.
    popular = bundle.catalog.popular
    unwanted = len(excluded) + (0 if withheld is None else len(withheld.rows))
    rows = popular[: n + unwanted] if allowed is None else popular[allowed[popular]]
    if withheld is not None:
        rows = rows[withheld.allowed[rows]]
    rows = rows[~np.isin(rows, excluded)][:n].astype(np.int64)
    counts = bundle.catalog.interactions
    scores = (counts[rows] / max(1, int(counts.sum()))).astype(np.float32)
    return Candidates(rows, scores, np.full(len(rows), -1, dtype=np.int64))


def interests_of(bundle: Bundle, history: list[str]) -> InterestsAnswer:
    """Encode a history as its k interests, largest weight first.

    Args:
        bundle: The live bundle.
        history: Item ids, oldest first; unknown ones are left out and counted.
    """
    rows = bundle.catalog.rows_of(history)
    known = rows[rows >= 0]
    interests = bundle.encoder.encode(known)
    return InterestsAnswer(
        bundle_version=bundle.version,
        unknown_items=len(rows) - len(known),
        interests=[
            InterestVector(
                interest=number,
                weight=round(float(interests.weights[number]), DECIMALS),
                interactions=int(interests.counts[number]),
                vector=np.round(interests.vectors[number].astype(np.float64), DECIMALS).tolist(),
            )
            for number in by_weight(interests)
        ],
    )


def similar_to(
    bundle: Bundle, item_id: str, n: int, *, withheld: Withheld | None = None
) -> SimilarAnswer | None:
    """Return the n nearest items to an item; None where it is not known.

    Args:
        bundle: The live bundle.
        item_id: The item, which is left out itself; it may be withheld.
        n: Items wanted.
        withheld: Rows that nobody may get.
    """
    row = int(bundle.catalog.rows_of([item_id])[0])
    if row < 0:
        return None
    found = similar_items(bundle.item_index, bundle.encoder.item_vectors, row, n, withheld=withheld)
    items: list[SimilarItem] = [
        {**fields, "score": score, "rank": rank}  # type: ignore[typeddict-item] # see below
        for rank, (fields, score) in enumerate(
            zip(item_fields(bundle, found.rows), _rounded(found.scores), strict=True), start=1
        )
    ]
    for place in np.flatnonzero(bundle.catalog.cold[found.rows]).tolist():
        items[place]["cold"] = True
    return SimilarAnswer(bundle_version=bundle.version, candidates=items)


def by_weight(interests: Interests) -> list[int]:
    """Return the numbers of the interests, largest weight first, ties by number."""
    order: list[int] = np.argsort(-interests.weights, kind="stable").tolist()
    return order


def _quotas(query: Query, interests: Interests) -> Rows | None:
    """Divide the places among the interests, shape (k,), int64; None where they compete freely.

    A larger pool is divided in proportion to these and not to the weights, so that every interest
    has in the pool what it needs for its places.
    """
    if query.aggregation == "max":
        return None
    return largest_remainder(query.top_k, interests.weights)


def _pool_size(query: Query) -> int:
    """How many candidates to retrieve, so that re-ranking has something to choose from."""
    if query.diversity == 0:
        return query.top_k
    return min(_POOL_FACTOR * query.top_k, query.top_k + _POOL_MORE)


def _allowed_rows(bundle: Bundle, query: Query) -> Mask | None:
    """Turn the categories of a query into a mask, shape (n_items,), bool; None for all."""
    if query.allow is None and not query.deny:
        return None
    allowed = np.full(bundle.catalog.n_items, query.allow is None)
    if query.allow is not None:
        allowed[bundle.catalog.rows_in(query.allow)] = True
    allowed[bundle.catalog.rows_in(query.deny)] = False
    return allowed


def _summaries(interests: Interests | None, explainer: Explainer | None) -> list[InterestSummary]:
    if interests is None or explainer is None:
        return []
    return [
        InterestSummary(
            interest=number,
            weight=round(float(interests.weights[number]), DECIMALS),
            interactions=int(interests.counts[number]),
            strongest_items=explainer.strongest_items(number),
        )
        for number in by_weight(interests)
    ]


def _candidates(
    bundle: Bundle, found: Candidates, explainer: Explainer | None, *, explain: bool
) -> list[Candidate]:
    columns = zip(
        item_fields(bundle, found.rows),
        _rounded(found.scores, _SHARE_DECIMALS if explainer is None else DECIMALS),
        found.interests.tolist(),
        strict=True,
    )
    candidates: list[Candidate] = [
        {
            **fields,  # type: ignore[typeddict-item] # what some have is added below
            "score": score,
            "rank": rank,
            "interest": None if interest < 0 else interest,
        }
        for rank, (fields, score, interest) in enumerate(columns, start=1)
    ]
    for place in np.flatnonzero(bundle.catalog.cold[found.rows]).tolist():
        candidates[place]["cold"] = True
    if explain and explainer is not None:
        reasons = explainer.reasons(found)
        for candidate, because in zip(candidates, reasons, strict=True):
            candidate["because"] = because
    elif explain:
        for candidate in candidates:
            candidate["because"] = []
    return candidates


def _rounded(scores: NDArray[np.float32], decimals: int = DECIMALS) -> list[float]:
    rounded: list[float] = np.round(scores.astype(np.float64), decimals).tolist()
    return rounded
