"""What new items go back to: the bundle, each other, their categories."""

from pathlib import Path

import numpy as np
import pytest

from index.bundles.bundle import Bundle, open_bundle
from index.renewal.likeness import Origins, trace
from index.renewal.renewal import add_items
from model.data.items import read_items
from model.errors import InputError
from tests.bundles import build_small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(build_small_bundle(tmp_path_factory.mktemp("bundle")))


def traced(bundle: Bundle, folder: Path, rows: str) -> Origins:
    (folder / "new.csv").write_text(f"item_id,similar_to,category\n{rows}")
    return trace(bundle.catalog, read_items(folder / "new.csv", similar_to=True), "new.csv")


def added(base: Path, folder: Path, name: str, rows: str) -> Path:
    (folder / f"{name}.csv").write_text(f"item_id,similar_to,category\n{rows}")
    return add_items(base, folder / f"{name}.csv", folder / name).path


def test_known_items_count_before_new_ones_and_these_before_categories(
    bundle: Bundle, tmp_path: Path
) -> None:
    origins = traced(
        bundle,
        tmp_path,
        "a,b|item-0004|nobody,genre-1\n"
        "b,a|nobody|b,genre-1\n"
        "c,somebody,genre-1\n"
        "d,a|c|b,\n"
        "e,d,genre-2\n",
    )

    assert {place: rows.tolist() for place, rows in origins.similar.items()} == {0: [4]}
    assert origins.categories == {2: ("genre-1",)}
    # "d" is like those that are nearest to the bundle, "b" is as far from it as "d" itself.
    assert origins.new == {1: [0], 3: [0, 2], 4: [3]}
    assert origins.unknown == ["nobody", "somebody"]


def test_new_items_that_name_none_but_each_other_go_by_category(
    bundle: Bundle, tmp_path: Path
) -> None:
    origins = traced(bundle, tmp_path, "a,b,\nb,c,genre-1\nc,a,\n")

    assert origins.categories == {1: ("genre-1",)}
    assert origins.new == {0: [1], 2: [0]}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,a,\n", "nothing is known of item 'a': the bundle"),
        ("a,b,new\nb,a,\nc,b,\n", r"nothing is known of item 'a' \(and of 2 more\)"),
    ],
)
def test_new_items_that_name_none_but_each_other_are_refused_without_one(
    rows: str, words: str, bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        traced(bundle, tmp_path, rows)


def test_items_that_name_each_other_are_as_if_added_one_after_the_other(
    bundle: Bundle, tmp_path: Path
) -> None:
    first = added(bundle.path, tmp_path, "first", "a,item-0004|item-0008,\nb,,genre-1\n")
    second = added(first, tmp_path, "second", "c,a|b,\n")

    together = open_bundle(
        added(bundle.path, tmp_path, "together", "c,a|b,\na,item-0004|item-0008,\nb,,genre-1\n")
    )

    one_by_one = open_bundle(second)
    ids = ["a", "b", "c"]
    np.testing.assert_allclose(
        together.encoder.item_vectors[together.catalog.rows_of(ids)],
        one_by_one.encoder.item_vectors[one_by_one.catalog.rows_of(ids)],
        rtol=1e-6,
    )


def test_a_long_chain_is_followed_to_its_end(bundle: Bundle, tmp_path: Path) -> None:
    rows = [f"n{number},n{number + 1},\n" for number in range(3000)]

    origins = traced(bundle, tmp_path, "".join([*rows, "n3000,item-0004,\n"]))

    assert list(origins.new) == list(range(2999, -1, -1))
