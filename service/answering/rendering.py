"""Answers as JSON, joined from bytes: no Python object is made for each field of each candidate.

What names an item was written when the bundle was built (``Catalog.members_of``). The types of
``service.api.answers`` say what comes out.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from index.bundles.bundle import Bundle
from index.search.merging import Candidates
from model.inference.encoder import Interests
from service.answering.explaining import DECIMALS, Strongest
from service.api.answers import Reason

_SHARE_DECIMALS = 9
"""Shares of all interactions are small numbers."""


def render_answer(
    bundle: Bundle, *, unknown_items: int, interests: bytes, candidates: bytes
) -> bytes:
    """Return a ``service.api.answers.StoredAnswer`` as JSON.

    Args:
        bundle: What answers.
        unknown_items: Interactions with items that the bundle does not know.
        interests: From ``render_interests``.
        candidates: From ``render_candidates``.
    """
    return b'{"bundle_version":%b,"unknown_items":%d,"interests":%b,"candidates":%b}' % (
        orjson.dumps(bundle.version),
        unknown_items,
        interests,
        candidates,
    )


def render_interests(bundle: Bundle, interests: Interests, strongest: Strongest) -> bytes:
    """Return a list of ``service.api.answers.InterestSummary`` as JSON, largest weight first.

    Args:
        bundle: Whose catalog names the items.
        interests: The user's.
        strongest: The items of the history that belong to each interest most.
    """
    named = bundle.catalog.members_of(strongest.rows.ravel())
    weights = _numbers(strongest.weights.ravel())
    items = [b'{%b,"weight":%b}' % each for each in zip(named, weights, strict=True)]
    width = strongest.rows.shape[1]
    shares, counts = _numbers(interests.weights), interests.counts.tolist()
    summaries = [
        b'{"interest":%d,"weight":%b,"interactions":%d,"strongest_items":[%b]}'
        % (j, shares[j], counts[j], b",".join(items[j * width : (j + 1) * width]))
        for j in by_weight(interests)
    ]
    return b"[%b]" % b",".join(summaries)


def render_candidates(
    bundle: Bundle,
    found: Candidates,
    *,
    are_popular: bool = False,
    reasons: Sequence[list[Reason]] | None = None,
) -> bytes:
    """Return a list of ``service.api.answers.Candidate`` as JSON.

    Args:
        bundle: Whose catalog names the items.
        found: Best first.
        are_popular: Their scores are shares of all interactions.
        reasons: Why each of them is a candidate, where that was asked for.
    """
    n = len(found.rows)
    if n == 0:
        return b"[]"
    ends = _ends(int(found.interests.max()) + 1)
    last = [ends[interest] for interest in found.interests.tolist()]
    cold = np.flatnonzero(bundle.catalog.cold[found.rows]).tolist()
    for place in cold:
        last[place] += b',"cold":true'
    if reasons is not None:
        last = [
            end + b',"because":' + orjson.dumps(why) for end, why in zip(last, reasons, strict=True)
        ]
    pieces = [b""] * (6 * n)
    pieces[0::6] = bundle.catalog.members_of(found.rows)
    pieces[1::6] = [b',"score":'] * n
    pieces[2::6] = _numbers(found.scores, _SHARE_DECIMALS if are_popular else DECIMALS)
    pieces[3::6] = _ranks(n)
    pieces[4::6] = last
    pieces[5::6] = [b"},{"] * n
    pieces[-1] = b"}]"
    return b"[{" + b"".join(pieces)


def by_weight(interests: Interests) -> list[int]:
    """Return the numbers of the interests, largest weight first, ties by number."""
    order: list[int] = np.argsort(-interests.weights, kind="stable").tolist()
    return order


def _numbers(values: NDArray[np.floating[Any]], decimals: int = DECIMALS) -> list[bytes]:
    """Write rounded numbers as JSON does. Shape (n,)."""
    rounded = np.round(values.astype(np.float64), decimals)
    return orjson.dumps(rounded, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def _ranks(n: int) -> list[bytes]:
    """Return what comes between the scores and the interests of n candidates."""
    enough = 1 << max(n - 1, 127).bit_length()
    return _first_ranks(enough)[:n]


@cache
def _first_ranks(n: int) -> list[bytes]:
    return [b',"rank":%d,"interest":' % rank for rank in range(1, n + 1)]


@cache
def _ends(k: int) -> list[bytes]:
    """Return the numbers of k interests; the last one stands for -1, no interest."""
    return [*(b"%d" % interest for interest in range(k)), b"null"]
