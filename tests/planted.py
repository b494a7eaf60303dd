"""Interaction logs whose interests are known: the answer that training has to find.

Items belong to categories; a user likes some categories and draws every interaction from one of
them. Shuffling the items of the whole log keeps every item's popularity and every history's
length, and leaves nothing to find.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.arrays import Rows


@dataclass(frozen=True, kw_only=True)
class PlantedLog:
    """How to draw a log.

    Attributes:
        n_users: Users.
        n_categories: Planted categories.
        items_per_category: Items of each.
        liked: Categories that a user likes.
        length: Interactions of a user.
        seed: Of the drawing.
    """

    n_users: int = 400
    n_categories: int = 4
    items_per_category: int = 40
    liked: int = 2
    length: int = 30
    seed: int = 0

    def draw(self, *, shuffled: bool = False) -> pl.DataFrame:
        """Return columns user_id, item_id, timestamp; by user, oldest first."""
        random = np.random.default_rng(self.seed)
        liked = random.permuted(np.tile(np.arange(self.n_categories), (self.n_users, 1)), axis=1)[
            :, : self.liked
        ]
        chosen = random.integers(self.liked, size=(self.n_users, self.length))
        category = np.take_along_axis(liked, chosen, axis=1)
        item = category * self.items_per_category + random.integers(
            self.items_per_category, size=category.shape
        )
        items = random.permutation(item.ravel()) if shuffled else item.ravel()
        return pl.DataFrame(
            {
                "user_id": [f"u{user}" for user in np.repeat(range(self.n_users), self.length)],
                "item_id": [f"i{number}" for number in items],
                "timestamp": np.tile(np.arange(self.length), self.n_users) + 1_700_000_000,
            }
        )

    def items(self) -> pl.DataFrame:
        """Return columns item_id, title, category."""
        numbers = range(self.n_categories * self.items_per_category)
        return pl.DataFrame(
            {
                "item_id": [f"i{number}" for number in numbers],
                "title": [f"Title {number}" for number in numbers],
                "category": [f"c{number // self.items_per_category}" for number in numbers],
            }
        )

    def write(self, folder: Path, *, shuffled: bool = False) -> tuple[Path, Path]:
        """Write ``interactions.csv`` and ``items.csv``; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        interactions, items = folder / "interactions.csv", folder / "items.csv"
        self.draw(shuffled=shuffled).write_csv(interactions)
        self.items().write_csv(items)
        return interactions, items


def normalised_mutual_information(found: Rows, planted: Rows) -> float:
    """What two partitions of the same items tell of each other: 2 I / (H + H), from 0 to 1.

    Chance alone gives more than 0, the more so the fewer items there are (see ``chance_of``).

    Args:
        found: Part of each item, counted from 0. Shape (n_items,), int64.
        planted: Likewise. Shape (n_items,), int64.
    """
    together = np.zeros((found.max() + 1, planted.max() + 1))
    np.add.at(together, (found, planted), 1 / len(found))
    of_each = _entropy(together.sum(1)) + _entropy(together.sum(0))
    if of_each == 0:
        return 0.0
    return 2 * (of_each - _entropy(together.ravel())) / of_each


def chance_of(found: Rows, planted: Rows, n_shuffles: int = 200) -> tuple[float, float]:
    """Mean and greatest normalised mutual information of ``found`` with shuffled ``planted``."""
    random = np.random.default_rng(0)
    values = [
        normalised_mutual_information(found, random.permutation(planted)) for _ in range(n_shuffles)
    ]
    return float(np.mean(values)), max(values)


def _entropy(shares: NDArray[np.float64]) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
