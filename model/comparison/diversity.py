"""What a list of candidates is besides right: varied, broad, popular (the protocol of OPAL.md).

Every measure is of the first K items of each user's list, whatever model made it, and uses item
properties that no compared model made (``model.comparison.reference``). Lists are item rows, best
first, −1 where a catalog is used up.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.comparison.reference import Matrix, Reference

CUTOFFS = (10, 20, 50)

Lists = NDArray[np.int32]

_BLOCK = 2048
"""Users at once; of their pairs, look-ups take some 100 MB."""


def measure_lists(
    lists: Lists, reference: Reference, cutoffs: Sequence[int] = CUTOFFS
) -> dict[str, float]:
    """Return all measures for some K, as ``NAME@K``.

    ``ild_cooccurrence``, ``pmi``, ``catalog_coverage``, ``log_popularity``; where there are
    categories, ``ild_category`` and ``category_coverage`` too. NaN where no list allows a measure.

    Args:
        lists: Shape (n_users, at least the largest K), int32.
        reference: Of the catalog.
        cutoffs: The K.
    """
    measures: dict[str, float] = {}
    for cutoff in cutoffs:
        top = lists[:, :cutoff]
        found = {
            "ild_cooccurrence": intra_list_distance(top, reference.cooccurrence),
            "pmi": mean_pairwise_pmi(top, reference.pmi),
            "catalog_coverage": catalog_coverage(top, len(reference.interactions)),
            "log_popularity": mean_log_popularity(top, reference.interactions),
        }
        if reference.categories is not None:
            found["ild_category"] = intra_list_distance(top, reference.categories)
            found["category_coverage"] = category_coverage(top, reference.categories)
        measures |= {f"{name}@{cutoff}": value for name, value in found.items()}
    return measures


def intra_list_distance(lists: Lists, vectors: Matrix) -> float:
    """Return 1 − the mean cosine of a list's pairs of items, averaged over users.

    arXiv 2407.14741 asks for it with item embeddings; here they are the same for all models. With
    one category an item it is the diversity of ComiRec (arXiv 2005.09347, section 4.5): the share
    of pairs of different categories. Items without a vector make no pairs; a list in which no two
    items have one does not count.

    Args:
        lists: Shape (n_users, K), int32.
        vectors: Of any length; 0: unknown. Shape (n_items, d).
    """
    unit, known = _unit_rows(vectors)
    totals, counts = [], []
    for block in _blocks(lists):
        members = _members(block, known)
        # Σ over pairs of v · w = (|Σ v|² − Σ |v|²) / 2, and all |v| are 1.
        sums = members @ unit
        squares = np.asarray(sums.multiply(sums).sum(axis=1)).ravel()
        counts.append(np.asarray(members.sum(axis=1)).ravel())
        totals.append(squares - counts[-1])
    n = np.concatenate(counts).astype(np.float64)
    paired = n > 1
    if not paired.any():
        return float("nan")
    cosine = np.concatenate(totals)[paired] / (n * (n - 1))[paired]
    return float(1 - cosine.mean())


def mean_pairwise_pmi(lists: Lists, pmi: Matrix) -> float:
    """Return the mean positive PMI of a list's pairs of items, in nats, averaged over users.

    log p(v, w) / (p(v) p(w)) from training co-occurrence; a pair that occurs together no more often
    than chance, or never, counts as 0. The larger, the more alike are the items of a list.

    Args:
        lists: Shape (n_users, K), int32.
        pmi: Shape (n_items, n_items).
    """
    first, second = np.triu_indices(lists.shape[1], k=1)
    means = []
    for block in _blocks(lists):
        is_pair = (block[:, first] >= 0) & (block[:, second] >= 0)
        found = np.zeros(is_pair.shape, dtype=np.float32)
        found[is_pair] = pmi[block[:, first][is_pair], block[:, second][is_pair]]
        n_pairs = is_pair.sum(axis=1)
        means.append(found.sum(axis=1)[n_pairs > 0] / n_pairs[n_pairs > 0])
    values = np.concatenate(means) if means else np.zeros(0)
    return float(values.mean()) if len(values) else float("nan")


def category_coverage(lists: Lists, categories: Matrix) -> float:
    """Return the share of all categories that a list holds, averaged over users.

    Args:
        lists: Shape (n_users, K), int32.
        categories: Multi-hot vectors. Shape (n_items, n_categories).
    """
    n_items, n_categories = categories.shape
    everything = np.ones(n_items, dtype=np.bool_)
    held = [
        np.diff((_members(block, everything) @ categories).tocsr().indptr)
        for block in _blocks(lists)
    ]
    return float(np.concatenate(held).mean() / n_categories) if held else float("nan")


def catalog_coverage(lists: Lists, n_items: int) -> float:
    """Return the share of the catalog that is in the list of any user.

    Args:
        lists: Shape (n_users, K), int32.
        n_items: Items in the catalog.
    """
    return len(np.unique(lists[lists >= 0])) / n_items


def mean_log_popularity(lists: Lists, interactions: NDArray[np.int64]) -> float:
    """Return the mean natural logarithm of the training interactions of listed items.

    The popularity bias: the larger, the more a model lists what is popular anyway.

    Args:
        lists: Shape (n_users, K), int32.
        interactions: Of each item, 1 at least. Shape (n_items,), int64.
    """
    listed = lists[lists >= 0]
    return float(np.log(interactions[listed]).mean()) if len(listed) else float("nan")


def _blocks(lists: Lists) -> list[Lists]:
    return [lists[begin : begin + _BLOCK] for begin in range(0, len(lists), _BLOCK)]


def _unit_rows(vectors: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
    """Scale rows to unit length; tell which ones have any."""
    rows = sparse.csr_array(vectors).astype(np.float64)
    squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    known = squares > 0
    scale = np.where(known, 1 / np.sqrt(np.where(known, squares, 1)), 0)
    return sparse.csr_array(sparse.diags_array(scale) @ rows), known


def _members(block: Lists, counted: NDArray[np.bool_]) -> Any:
    """Return users × items with a one for each listed item that is counted."""
    users, places = np.nonzero(block >= 0)
    rows = block[users, places]
    users, rows = users[counted[rows]], rows[counted[rows]]
    ones = np.ones(len(rows))
    return sparse.csr_array((ones, (users, rows)), shape=(len(block), len(counted)))
