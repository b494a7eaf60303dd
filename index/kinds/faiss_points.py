"""The operating points of a Faiss index that are worth measuring."""

import itertools
import math
from collections.abc import Iterator

import faiss

from index.kinds.tunable_index import RESCORING, fitting

_GRIDS: dict[str, tuple[float, ...]] = {
    # Faiss's own grid has powers of 2 only: too coarse where a step doubles the time.
    "nprobe": (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512),
    "efSearch": (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024),
    "k_factor_rf": (1, 2, 4, 8, 16),
}
_LEFT_ALONE = {"ht"}
"""Polysemous filtering of product codes: at its low end so little is found that all is completed by
scoring every vector, which looks like perfect recall."""
_RESCORINGS = (1, 2, 3, 4, 6, 8, 12)


def operating_points(index: faiss.Index, n: int, *, rescores: bool) -> Iterator[dict[str, float]]:
    """Enumerate operating points, those that take the least time first.

    Args:
        index: A trained and filled index.
        n: Answers per query that they will be measured with.
        rescores: What the index finds is scored again with the vectors.
    """
    least = {"nprobe": _lists_with(index, n)}
    # More than Faiss would try is not tried.
    ranges = {
        name: fitting(_GRIDS.get(name, tuple(values)), least.get(name, 0), max(values))
        for name, values in _parameter_ranges(index).items()
        if values and name not in _LEFT_ALONE
    }
    if rescores:
        ranges[RESCORING] = list(_RESCORINGS)
    for values in itertools.product(*ranges.values()):
        yield dict(zip(ranges, values, strict=True))


def _parameter_ranges(index: faiss.Index) -> dict[str, list[float]]:
    """Return the parameters that Faiss would explore on an index, and the values of each."""
    space = faiss.ParameterSpace()
    space.initialize(index)
    ranges = {}
    for number in range(space.parameter_ranges.size()):
        each = space.parameter_ranges.at(number)
        ranges[each.name] = [each.values.at(place) for place in range(each.values.size())]
    return ranges


def _lists_with(index: faiss.Index, n: int) -> int:
    """Return how many lists of an inverted file hold n items on average; 0 of other kinds."""
    inverted = faiss.try_extract_index_ivf(index)
    return 0 if inverted is None else math.ceil(n * inverted.nlist / index.ntotal)
