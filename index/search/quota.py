"""From one result list per interest to one ranked list in which each interest has its share.

By maximum alone, the interest with the sharpest vector can take every place. Here an interest that
holds a fifth of the history gets a fifth of the candidates. Pure NumPy.
"""

import numpy as np

from index.search.item_index import SearchResult
from index.search.merging import Candidates, ranked_pairs
from model.arrays import Floats, Rows


def largest_remainder(n: int, weights: Floats | Rows) -> Rows:
    """Divide n places in proportion to weights (Hamilton's method).

    Args:
        n: Places, at least 0.
        weights: None below 0, not all 0. Shape (k,), float32 or int64.

    Returns:
        Places of each, none further than 1 from its share, n in all; what is left after rounding
        down goes to the largest fractions, of equal ones to the lower number. Shape (k,), int64.

    Raises:
        ValueError: A weight is below 0 or no number, or all are 0.
    """
    precise = weights.astype(np.float64)
    total = precise.sum()
    if not (np.isfinite(total) and total > 0 and (precise >= 0).all()):
        raise ValueError(f"weights are {weights.tolist()}, expected numbers from 0, not all 0")
    shares = n * (precise / total)
    quotas: Rows = np.floor(shares).astype(np.int64)
    largest = np.argsort(quotas - shares, kind="stable")
    quotas[largest[: n - int(quotas.sum())]] += 1
    return quotas


def merge_by_quota(result: SearchResult, quotas: Rows) -> Candidates:
    """Let each interest name its quota of items, no item twice.

    The best pair of item and interest goes first, if the item is still there and the interest has
    a place left. So an item that several interests would name counts for the one that likes it
    best; the others go on down their lists. Places that an interest cannot fill go to the best
    pairs that are left, whoever's they are.

    Args:
        result: One query per interest. To fill all quotas whatever the others take, a list needs
            as many items as there are places in all. Shape (k, m).
        quotas: Places of each interest. Shape (k,), int64.

    Returns:
        As many as there are places, or as many as were found. Best score first, ties by row;
        the score is that of the interest for which the item counts.
    """
    pairs = ranked_pairs(result)
    n, left = int(quotas.sum()), quotas.tolist()
    rows, interests = pairs.rows.tolist(), pairs.interests.tolist()
    chosen: list[int] = []
    taken: set[int] = set()

    def take(*, within_quota: bool) -> None:
        for place, (row, interest) in enumerate(zip(rows, interests, strict=True)):
            if len(chosen) == n:
                return
            if row not in taken and (left[interest] > 0 or not within_quota):
                chosen.append(place)
                taken.add(row)
                left[interest] -= 1

    take(within_quota=True)
    take(within_quota=False)
    return pairs.take(np.sort(np.array(chosen, dtype=np.int64)))
