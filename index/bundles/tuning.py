"""Tune an index on real interests: what each operating point finds, and how long it takes.

Recall is over each interest's own list: the share of its exact top 100 that the index finds. What
is merged from several interests is found more often than that, since the best of each counts.
Times are those of one user's interests searched together, on one thread.
"""

import statistics
import time
from collections.abc import Mapping
from typing import NamedTuple

import faiss
import numpy as np

from index.bundles.probes import score_tolerance
from index.kinds.tunable_index import TunableIndex
from index.search.direct import scores_of
from index.search.item_index import ItemIndex
from model.arrays import Floats, Rows

TOP = 100
TUNING_USERS = 100

Parameters = Mapping[str, float]

_ENOUGH = 0.999
_TOO_SLOW = 2.0  # times the exact search


class Point(NamedTuple):
    """An operating point of an index, measured.

    Attributes:
        parameters: By name; see ``TunableIndex``.
        recall: Share of each interest's exact top 100 that was found.
        milliseconds: Median for one user's interests, one thread.
    """

    parameters: dict[str, float]
    recall: float
    milliseconds: float


class Interests(NamedTuple):
    """Users' interests to tune on, and the truth about them.

    Attributes:
        vectors: Shape (u, k, d), float32.
        cuts: Exact score of each interest's 100th item, or the last. Shape (u, k), float32.
        top: min(100, n_items).
        flat_milliseconds: Median time of the exact search (Faiss Flat), as in ``Point``.
    """

    vectors: Floats
    cuts: Floats
    top: int
    flat_milliseconds: float


def know_exactly(item_vectors: Floats, interests: Floats) -> Interests:
    """Search interests exactly.

    Args:
        item_vectors: Shape (n_items, d), float32.
        interests: Of the first users; others are left out. Shape (u, k, d), float32.
    """
    interests = np.ascontiguousarray(interests[:TUNING_USERS])
    top = min(TOP, len(item_vectors))
    flat = faiss.IndexFlatIP(item_vectors.shape[1])
    flat.add(np.ascontiguousarray(item_vectors))
    faiss.omp_set_num_threads(1)
    cuts, times = [], []
    for user in interests:
        begun = time.perf_counter()
        scores, _ = flat.search(user, top)
        times.append(time.perf_counter() - begun)
        cuts.append(scores[:, -1])
    return Interests(interests, np.stack(cuts), top, 1e3 * statistics.median(times))


def measure_point(
    item_index: ItemIndex, item_vectors: Floats, interests: Interests, parameters: Parameters
) -> Point:
    """Measure an index as it is set now.

    Args:
        item_index: The index.
        item_vectors: Shape (n_items, d), float32.
        interests: What to search.
        parameters: How it is set, for the record.
    """
    times, hits = [], 0
    for user, cuts in zip(interests.vectors, interests.cuts, strict=True):
        begun = time.perf_counter()
        found = item_index.search(user, interests.top)
        times.append(time.perf_counter() - begun)
        hits += count_hits(found.rows, user, cuts, item_vectors)
    recall = hits / (interests.cuts.size * interests.top)
    return Point(dict(parameters), recall, 1e3 * statistics.median(times))


def count_hits(rows: Rows, queries: Floats, cuts: Floats, item_vectors: Floats) -> int:
    """Count what was found that belongs to the exact answers.

    Args:
        rows: What each query found. Shape (q, n), int64.
        queries: Shape (q, d), float32.
        cuts: Exact score of the last of each query's answers. Shape (q,), float32.
        item_vectors: Shape (n_items, d), float32.
    """
    scores = scores_of(rows, queries, item_vectors)
    return int(np.count_nonzero(scores >= cuts[:, np.newaxis] - score_tolerance(cuts)))


def explore(
    item_index: TunableIndex, item_vectors: Floats, interests: Interests, *, target: float
) -> list[Point]:
    """Measure the operating points of an index; keep those that no other one beats.

    Args:
        item_index: The index; it is left at any of them.
        item_vectors: Shape (n_items, d), float32.
        interests: What to search.
        target: Recall to look for, however long it takes; beyond, what is slow is not looked at.

    Returns:
        Ascending in recall and in time; of an index without parameters one point.
    """
    limits = _Limits(max(_ENOUGH, target), target, _TOO_SLOW * interests.flat_milliseconds)
    measured: list[Point] = []
    optimal = faiss.OperatingPoints()
    for parameters in item_index.operating_points(TOP):
        if any(_leads_no_further(point, parameters, limits) for point in measured):
            continue
        item_index.operate_at(parameters)
        point = measure_point(item_index, item_vectors, interests, parameters)
        optimal.add(point.recall, point.milliseconds, str(len(measured)), len(measured))
        measured.append(point)
    points = optimal.optimal_pts
    numbers = [points.at(place).cno for place in range(points.size())]
    # Faiss begins with a point of its own, at recall 0 and without a number.
    return [measured[number] for number in numbers if number >= 0]


def choose(points: list[Point], target: float) -> Point | None:
    """Return the fastest point that keeps a promise; None where none does."""
    good = [point for point in points if point.recall >= target]
    return min(good, key=lambda point: point.milliseconds, default=None)


class _Limits(NamedTuple):
    """Where looking on is in vain: so much found, or so much and too slow."""

    enough: float
    target: float
    milliseconds: float


def _leads_no_further(point: Point, parameters: Parameters, limits: _Limits) -> bool:
    """Tell whether more effort than at a point is in vain."""
    is_more = all(parameters[name] >= value for name, value in point.parameters.items())
    is_slow = point.recall >= limits.target and point.milliseconds > limits.milliseconds
    return is_more and (point.recall >= limits.enough or is_slow)
