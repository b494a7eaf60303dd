"""A request's life without HTTP, cache or queue: queries and a bundle in, answers out.

Pure functions. The same query on the same bundle gives the same answer to the last byte.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np

from index.bundles.bundle import Bundle
from index.search.diversity import diversify
from index.search.merging import Candidates
from index.search.quota import largest_remainder
from index.search.retrieval import Wish, retrieve_together, similar_items
from index.search.withheld import Withheld
from model.arrays import Floats, Mask, Rows
from model.inference.encoder import Interests
from model.marginal_relevance import pool_size
from service.answering.explaining import DECIMALS, Explainer, item_fields
from service.answering.rendering import (
    by_weight,
    render_answer,
    render_candidates,
    render_interests,
)
from service.api.answers import InterestsAnswer, InterestVector, SimilarAnswer, SimilarItem
from service.api.query import Query

Stage = Callable[[str], AbstractContextManager[None]]


class Match(NamedTuple):
    """An answer and what the metrics want to know of it.

    Attributes:
        stored: What query and bundle determine: ``service.api.answers.StoredAnswer`` as JSON.
        is_fallback: Nothing of the history was known; these are popular items.
        known_items: Interactions whose item the bundle knows.
        unknown_items: The others.
        interests_in_use: Interests that hold at least one interaction.
    """

    stored: bytes
    is_fallback: bool
    known_items: int
    unknown_items: int
    interests_in_use: int


class _User(NamedTuple):
    """A query in the terms of a bundle.

    Attributes:
        query: What is asked.
        known: Rows of the items of the history that the bundle knows, oldest first.
        unknown_items: How many others there are.
        excluded: Rows that must not be candidates; -1 among them.
        allowed: True for the rows that may be candidates. Shape (n_items,), bool. None = all.
    """

    query: Query
    known: Rows
    unknown_items: int
    excluded: Rows
    allowed: Mask | None


def match(
    bundle: Bundle,
    query: Query,
    *,
    withheld: Withheld | None = None,
    stage: Stage = lambda _: nullcontext(),
) -> Match:
    """Answer a query from a bundle; see ``match_together``."""
    return match_together(bundle, [query], withheld=withheld, stage=stage)[0]


def match_together(
    bundle: Bundle,
    queries: Sequence[Query],
    *,
    withheld: Withheld | None = None,
    stage: Stage = lambda _: nullcontext(),
) -> list[Match]:
    """Answer queries from a bundle, to the byte what each of them would get alone.

    What is withheld is no candidate, whatever is asked; in the history it still describes the user.

    Args:
        bundle: The live bundle.
        queries: What is asked.
        withheld: Rows of this bundle that must not be candidates.
        stage: Measures a stage by name, once for all queries: encode, search, rank, serialise.
    """
    everybody = [_user_of(bundle, query) for query in queries]
    users = [user for user in everybody if len(user.known)]
    with stage("encode"):
        encoded = bundle.encoder.encode_batch([user.known for user in users])
    quotas = [_quotas(*each) for each in zip(users, encoded, strict=True)]
    with stage("search"):
        wishes = [
            Wish(interests.vectors, _pool_size(user.query), user.excluded, user.allowed, shares)
            for user, interests, shares in zip(users, encoded, quotas, strict=True)
        ]
        pools = retrieve_together(bundle.item_index, wishes, withheld=withheld)
    with stage("rank"):
        ranked = iter([_ranked(bundle, *each) for each in zip(users, pools, quotas, strict=True)])
    with stage("serialise"):
        described = iter(encoded)
        return [
            _answer(bundle, user, next(described), next(ranked))
            if len(user.known)
            else _fallback(bundle, user, withheld)
            for user in everybody
        ]


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
    encoder = bundle.encoder
    found = similar_items(
        bundle.item_index,
        encoder.item_vectors,
        row,
        n,
        withheld=withheld,
        unit_vectors=encoder.unit_vectors,
        item_lengths=encoder.item_lengths,
    )
    items: list[SimilarItem] = [
        {**fields, "score": score, "rank": rank}  # type: ignore[typeddict-item] # see below
        for rank, (fields, score) in enumerate(
            zip(item_fields(bundle, found.rows), _rounded(found.scores), strict=True), start=1
        )
    ]
    for place in np.flatnonzero(bundle.catalog.cold[found.rows]).tolist():
        items[place]["cold"] = True
    return SimilarAnswer(bundle_version=bundle.version, candidates=items)


def _user_of(bundle: Bundle, query: Query) -> _User:
    rows = bundle.catalog.rows_of(query.history)
    known = rows[rows >= 0]
    excluded = bundle.catalog.rows_of(query.exclude)
    if query.exclude_seen:
        excluded = np.concatenate((excluded, known))
    allowed = _allowed_rows(bundle, query)
    return _User(query, known, len(rows) - len(known), excluded, allowed)


def _quotas(user: _User, interests: Interests) -> Rows | None:
    """Divide the places among the interests, shape (k,), int64; None where they compete freely.

    A larger pool is divided in proportion to these and not to the weights, so that every interest
    has in the pool what it needs for its places.
    """
    if user.query.aggregation == "max":
        return None
    return largest_remainder(user.query.top_k, interests.weights)


def _pool_size(query: Query) -> int:
    """How many candidates to retrieve, so that re-ranking has something to choose from."""
    if query.diversity == 0:
        return query.top_k
    return pool_size(query.top_k)


def _allowed_rows(bundle: Bundle, query: Query) -> Mask | None:
    """Turn the categories of a query into a mask, shape (n_items,), bool; None for all."""
    if query.allow is None and not query.deny:
        return None
    allowed = np.full(bundle.catalog.n_items, query.allow is None)
    if query.allow is not None:
        allowed[bundle.catalog.rows_in(query.allow)] = True
    allowed[bundle.catalog.rows_in(query.deny)] = False
    return allowed


def _ranked(bundle: Bundle, user: _User, pool: Candidates, quotas: Rows | None) -> Candidates:
    """Choose candidates from the pool."""
    query = user.query
    if query.diversity == 0:
        return pool
    vectors = bundle.encoder.item_vectors
    return diversify(pool, vectors, query.diversity, query.top_k, quotas=quotas)


def _answer(bundle: Bundle, user: _User, interests: Interests, candidates: Candidates) -> Match:
    explainer = Explainer(bundle, user.known, interests)
    stored = render_answer(
        bundle,
        unknown_items=user.unknown_items,
        interests=render_interests(bundle, interests, explainer.strongest()),
        candidates=render_candidates(
            bundle,
            candidates,
            reasons=explainer.reasons(candidates) if user.query.explain else None,
        ),
    )
    in_use = int(np.count_nonzero(interests.counts))
    return Match(stored, False, len(user.known), user.unknown_items, in_use)


def _fallback(bundle: Bundle, user: _User, withheld: Withheld | None) -> Match:
    candidates = popular_items(
        bundle, user.query.top_k, excluded=user.excluded, allowed=user.allowed, withheld=withheld
    )
    stored = render_answer(
        bundle,
        unknown_items=user.unknown_items,
        interests=b"[]",
        candidates=render_candidates(
            bundle,
            candidates,
            are_popular=True,
            reasons=[[]] * len(candidates.rows) if user.query.explain else None,
        ),
    )
    return Match(stored, True, 0, user.unknown_items, 0)


def _rounded(scores: Floats) -> list[float]:
    rounded: list[float] = np.round(scores.astype(np.float64), DECIMALS).tolist()
    return rounded
