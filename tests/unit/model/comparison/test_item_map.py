"""Items on a plane, and the groups that colour them."""

import numpy as np
import polars as pl
import pytest

from model.comparison import item_map
from model.comparison.item_map import (
    OTHERS,
    group_by_category,
    group_by_direction,
    place_items,
    reason_against_map,
)


def vectors(n_items: int = 60) -> np.ndarray:
    """Items around three directions."""
    random = np.random.default_rng(0)
    near = np.eye(3, 8)[np.arange(n_items) % 3] + random.normal(0, 0.1, size=(n_items, 8))
    return near.astype(np.float32)


def test_items_that_are_alike_are_placed_near_each_other() -> None:
    places = place_items(vectors())

    group = np.arange(60) % 3
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(1)] == group).all()


def test_the_same_items_are_placed_alike() -> None:
    assert (place_items(vectors()) == place_items(vectors())).all()


@pytest.mark.parametrize("n_items", [4, 9])
def test_few_items_are_placed_too(n_items: int) -> None:
    assert place_items(vectors(n_items)).shape == (n_items, 2)


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (vectors()[:, :1], "vectors of 1 number span no plane"),
        (vectors(1), "the catalog has 1 items"),
        (vectors()[:1].repeat(30, axis=0), "all item vectors point the same way"),
        (vectors(4), ""),
    ],
)
def test_what_cannot_be_placed_is_told(vectors: np.ndarray, reason: str) -> None:
    assert reason_against_map(vectors).startswith(reason)
    assert bool(reason_against_map(vectors)) == bool(reason)


def test_only_the_most_popular_are_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_map, "MAX_ITEMS", 20)

    assert len(place_items(vectors())) == 20
    assert len(group_by_direction(vectors(), np.eye(3, 8, dtype=np.float32)).group) == 20


def test_items_are_grouped_by_the_direction_they_point_along() -> None:
    names, group = group_by_direction(vectors(), np.eye(3, 8, dtype=np.float32))

    assert names == ["hyper-category 0", "hyper-category 1", "hyper-category 2"]
    assert (group == np.arange(60) % 3).all()


def test_items_are_grouped_by_their_first_category() -> None:
    lists = [["b", "a"], ["a"], [], None, ["b"], *[[f"c{n}"] for n in range(12)], *[["z"]] * 3]
    categories = pl.Series("category", lists, dtype=pl.List(pl.String))

    found = group_by_category(categories)

    assert found is not None
    assert len(found.names) == 8
    assert list(found.names[:2]) == ["z", "b"]
    assert found.group[:5].tolist() == [1, found.names.index("a"), OTHERS, OTHERS, 1]
    assert (found.group[-3:] == 0).all()


def test_without_categories_there_are_no_groups() -> None:
    assert group_by_category(pl.Series("category", [[], []], dtype=pl.List(pl.String))) is None
