"""A map of items: near one another where their vectors are; and the groups to colour them by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from model.arrays import Floats, Rows

MIN_ITEMS = 4
MAX_ITEMS = 3_000
SHOWN_CATEGORIES = 8
OTHERS = -1

_LEAST_DEVIATION = 1e-6


class Grouping(NamedTuple):
    """Which group each item of the map is in.

    Attributes:
        names: Of the groups.
        group: Of each item; ``OTHERS``: none that is named. Shape (n,), int64.
    """

    names: Sequence[str]
    group: Rows


def reason_against_map(item_vectors: Floats) -> str:
    """Say why items cannot be placed on a plane; empty where they can.

    Args:
        item_vectors: Of the catalog. Shape (n_items, d), float32.
    """
    n_items, dim = item_vectors.shape
    if dim < 2:  # noqa: PLR2004 - a plane
        return f"vectors of {dim} number span no plane"
    if n_items < MIN_ITEMS:
        return f"the catalog has {n_items} items, and a map needs {MIN_ITEMS} at least"
    if _unit_rows(item_vectors).std(axis=0).max() < _LEAST_DEVIATION:
        return "all item vectors point the same way"  # t-SNE would not survive it
    return ""


def place_items(item_vectors: Floats) -> NDArray[np.float64]:
    """Place the most popular items on a plane by t-SNE (van der Maaten and Hinton, 2008).

    Rows go by popularity: the first ``MAX_ITEMS`` are placed. Always the same way.

    Args:
        item_vectors: Of the catalog, which allow it (``reason_against_map``).
            Shape (n_items, d), float32.

    Returns:
        Shape (min(n_items, MAX_ITEMS), 2).
    """
    unit = _unit_rows(item_vectors)
    perplexity = min(30.0, (len(unit) - 1) / 3)
    plane = TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1)
    placed: NDArray[np.float64] = plane.fit_transform(unit)
    return placed


def _unit_rows(item_vectors: Floats) -> Floats:
    shown = item_vectors[:MAX_ITEMS]
    lengths = np.linalg.norm(shown, axis=1, keepdims=True)
    unit: Floats = (shown / np.maximum(lengths, np.finfo(float).tiny)).astype(np.float32)
    return unit


def group_by_direction(item_vectors: Floats, directions: Floats) -> Grouping:
    """Group items by the hyper-category that they point along most, argmax_j e · c_j."""
    shown = item_vectors[:MAX_ITEMS]
    names = [f"hyper-category {j}" for j in range(len(directions))]
    return Grouping(names, (shown @ directions.T).argmax(axis=1))


def group_by_category(categories: pl.Series) -> Grouping | None:
    """Group items by their first category; None where none has any.

    Args:
        categories: Of the catalog, lists. The ``SHOWN_CATEGORIES`` most frequent are named.
    """
    first = categories.head(MAX_ITEMS).list.first()
    counts = first.drop_nulls().value_counts().sort(["count", first.name], descending=[True, False])
    names = counts[first.name].head(SHOWN_CATEGORIES).to_list()
    if not names:
        return None
    numbers = {name: number for number, name in enumerate(names)}
    group = [numbers.get(name, OTHERS) for name in first.to_list()]
    return Grouping(names, np.array(group, dtype=np.int64))
