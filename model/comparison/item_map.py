"""A map of items: near one another where their vectors are; and the groups to colour them by."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from model.arrays import Floats, Rows

MAX_ITEMS = 3_000
SHOWN_CATEGORIES = 8
OTHERS = -1


class Grouping(NamedTuple):
    """Which group each item of the map is in.

    Attributes:
        names: Of the groups.
        group: Of each item; ``OTHERS``: none that is named. Shape (n,), int64.
    """

    names: Sequence[str]
    group: Rows


def place_items(item_vectors: Floats) -> NDArray[np.float64]:
    """Place the most popular items on a plane by t-SNE (van der Maaten and Hinton, 2008).

    Rows go by popularity: the first ``MAX_ITEMS`` are placed. Always the same way.

    Args:
        item_vectors: Of the catalog. Shape (n_items, d), float32.

    Returns:
        Shape (min(n_items, MAX_ITEMS), 2).
    """
    shown = item_vectors[:MAX_ITEMS]
    unit = shown / np.maximum(np.linalg.norm(shown, axis=1, keepdims=True), np.finfo(float).tiny)
    perplexity = min(30.0, (len(shown) - 1) / 3)
    plane = TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1)
    placed: NDArray[np.float64] = plane.fit_transform(unit.astype(np.float32))
    return placed


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
