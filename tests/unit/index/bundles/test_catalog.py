import shutil
from pathlib import Path
from time import perf_counter

import numpy as np
import orjson
import polars as pl
import pytest

import index.bundles.catalog
from index.bundles.catalog import (
    CATEGORIES_FILE,
    ITEMS_FILE,
    LOOKUP_FILE,
    POPULAR_FILE,
    Catalog,
    hash_ids,
    write_catalog,
)
from index.tensor_files import open_tensors, write_tensors
from model.errors import BundleError

ITEMS = pl.DataFrame(
    {
        "item_id": ["b", "a", "ü", "42", "\N{SNOWMAN} x"],
        "title": ["Bee", None, "", "Answer", "Snow"],
        "category": [["x", "y"], None, [], ["y", "y"], ["z"]],
        "url": ["https://example.org/b", None, None, None, None],
        "interactions": [5, 9, None, 9, 1],
    },
    schema_overrides={"category": pl.List(pl.String)},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalog")
    write_catalog(ITEMS, path)
    return path


@pytest.fixture(scope="module")
def catalog(folder: Path) -> Catalog:
    return Catalog(folder)


def test_ids_and_rows_are_each_others_inverse(catalog: Catalog) -> None:
    ids = ITEMS["item_id"].to_list()

    assert catalog.rows_of(ids).tolist() == [0, 1, 2, 3, 4]
    assert catalog.ids_of(np.array([4, 0, 0])) == [ids[4], "b", "b"]
    assert catalog.n_items == 5


def test_unknown_ids_have_row_minus_one(catalog: Catalog) -> None:
    rows = catalog.rows_of(["nope", "a", "", "\ud800", "A", "a"])

    assert rows.tolist() == [-1, 1, -1, -1, -1, 1]
    assert rows.dtype == np.int64
    assert catalog.rows_of([]).tolist() == []


def test_ids_that_share_a_hash_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def colliding(item_ids: list[str]) -> np.typing.NDArray[np.uint64]:
        return np.array([len(each) % 2 for each in item_ids], dtype=np.uint64)

    monkeypatch.setattr(index.bundles.catalog, "hash_ids", colliding)
    write_catalog(ITEMS, tmp_path)
    catalog = Catalog(tmp_path)

    assert catalog.rows_of(["42", "ü", "a", "b", "c", "xx"]).tolist() == [3, 2, 1, 0, -1, -1]


def test_hashes_are_the_same_everywhere() -> None:
    """They are part of the bundle's format: another value would make old bundles unreadable."""
    assert hash_ids(["a", "ü"]).tolist() == [3405396810240292928, 3976460501203677525]


def test_metadata_comes_by_row(catalog: Catalog) -> None:
    rows = np.array([0, 1, 2, 3])

    assert catalog.titles_of(rows) == ["Bee", None, None, "Answer"]
    assert catalog.categories_of(rows) == [["x", "y"], [], [], ["y"]]
    assert catalog.interactions.tolist() == [5, 9, 0, 9, 1]


def test_members_are_json_with_and_without_a_title(tmp_path: Path) -> None:
    items = ITEMS.with_columns(title=pl.Series(['"B"', None, "", "\\ä\n", "Snow"]))
    write_catalog(items, tmp_path)
    rows = np.array([3, 0, 1, 2])
    expected = [
        {"item_id": "42", "title": "\\ä\n"},
        {"item_id": "b", "title": '"B"'},
        {"item_id": "a"},
        {"item_id": "ü"},
    ]

    assert [orjson.loads(b"{%b}" % each) for each in Catalog(tmp_path).members_of(rows)] == expected
    table = dict(open_tensors(tmp_path / ITEMS_FILE))
    # As bundles of an earlier program are.
    written = {name: each for name, each in table.items() if not name.startswith("members.")}
    assert len(written) == len(table) - 2
    write_tensors(tmp_path / ITEMS_FILE, written)
    assert [orjson.loads(b"{%b}" % each) for each in Catalog(tmp_path).members_of(rows)] == expected


def test_ids_looked_up_before_are_found_again_and_forgotten_in_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    def noting(item_ids: list[str]) -> np.typing.NDArray[np.uint64]:
        looked_up.extend(item_ids)
        return hash_ids(item_ids)

    catalog = Catalog(folder)
    monkeypatch.setattr(index.bundles.catalog, "hash_ids", noting)
    monkeypatch.setattr(index.bundles.catalog, "_MOST_KNOWN", 3)

    assert catalog.rows_of(["b", "nope", "b"]).tolist() == [0, -1, 0]
    assert catalog.rows_of(["a", "b"]).tolist() == [1, 0]
    assert looked_up == ["b", "nope", "b", "a"]
    # Unknown ids, which are as many as callers like, are not kept.
    assert catalog.rows_of(["nope"]).tolist() == [-1]
    assert looked_up.count("nope") == 2
    # Four are too many: what is asked for now is all that is kept.
    assert catalog.rows_of(["ü", "42"]).tolist() == [2, 3]
    assert catalog.rows_of(["a"]).tolist() == [1]
    assert looked_up.count("a") == 2


def test_rows_in_is_the_union_of_categories(catalog: Catalog) -> None:
    assert catalog.rows_in(["y"]).tolist() == [0, 3]
    assert catalog.rows_in(["z", "y", "x"]).tolist() == [0, 3, 4]
    assert catalog.rows_in(["unknown"]).tolist() == []
    assert catalog.rows_in([]).dtype == catalog.rows_in(["x"]).dtype == np.int64


def test_popular_is_every_row_most_interactions_first_ties_by_row(catalog: Catalog) -> None:
    assert catalog.popular.tolist() == [1, 3, 0, 4, 2]


def test_a_catalog_without_categories_opens(tmp_path: Path) -> None:
    write_catalog(ITEMS.with_columns(category=pl.lit(None, pl.List(pl.String))), tmp_path)
    catalog = Catalog(tmp_path)

    assert catalog.categories_of(np.array([0])) == [[]]
    assert catalog.rows_in(["x"]).tolist() == []
    assert repr(catalog) == "<Catalog 5 items, 0 categories>"


def test_everything_is_mapped(folder: Path, catalog: Catalog) -> None:
    maps = Path("/proc/self/maps").read_text()

    assert all(str(folder / name) in maps for name in (ITEMS_FILE, LOOKUP_FILE, POPULAR_FILE))
    assert catalog.n_items == 5


def test_fifty_ids_are_looked_up_within_a_millisecond(tmp_path: Path) -> None:
    """Typically 0.06 ms; the bar leaves room for a busy machine."""
    n_items = 20_000
    items = pl.DataFrame(
        {
            "item_id": [f"id-{row}" for row in range(n_items)],
            "title": [None] * n_items,
            "category": [[]] * n_items,
            "url": [None] * n_items,
            "interactions": [0] * n_items,
        },
        schema_overrides={"title": pl.String, "url": pl.String, "category": pl.List(pl.String)},
    )
    write_catalog(items, tmp_path)
    catalog, ids = Catalog(tmp_path), [f"id-{row}" for row in range(0, 20_000, 400)]
    times = []
    for _ in range(50):
        start = perf_counter()
        catalog.rows_of(ids)
        times.append(perf_counter() - start)

    assert min(times) < 1e-3


@pytest.mark.parametrize("name", [ITEMS_FILE, CATEGORIES_FILE, LOOKUP_FILE, POPULAR_FILE])
def test_missing_and_damaged_files_are_named(name: str, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / name).write_bytes((copy / name).read_bytes()[:10])

    with pytest.raises(BundleError, match=f"{name}: damaged"):
        Catalog(copy)

    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: is missing"):
        Catalog(copy)


def test_tables_of_different_length_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    np.save(copy / POPULAR_FILE, np.arange(3))

    with pytest.raises(
        BundleError, match=r"popular\.npy: popular rows do not hold every item row once"
    ):
        Catalog(copy)


def test_a_missing_column_is_named(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    tensors = dict(open_tensors(folder / ITEMS_FILE))
    del tensors["interactions"]
    write_tensors(copy / ITEMS_FILE, tensors)

    with pytest.raises(BundleError, match="column 'interactions' is missing"):
        Catalog(copy)


def edited(folder: Path, copy: Path, name: str, **edits: object) -> None:
    """Copy a catalog and replace arrays of one of its tables."""
    shutil.copytree(folder, copy)
    tensors = dict(open_tensors(folder / name))
    for column, value in edits.items():
        tensors[column.replace("__", ".")] = np.asarray(value)
    write_tensors(copy / name, tensors)


@pytest.mark.parametrize(
    ("popular", "problem"),
    [
        ([0, 1, 2, 3, 5], "row outside 0…4"),
        ([0, 1, 2, 3, -1], "row outside 0…4"),
        ([0, 1, 2, 3, 3], "every item row once"),
        ([0, 1, 2, 3], "every item row once"),
        ([0.0, 1.0, 2.0, 3.0, 4.0], "no list of item rows"),
        ([[0, 1, 2, 3, 4]], "no list of item rows"),
    ],
)
def test_popular_rows_that_cannot_be_served_are_refused(
    popular: list[float], problem: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    np.save(tmp_path / "copy" / POPULAR_FILE, np.array(popular))

    with pytest.raises(BundleError, match=rf"popular\.npy: .*{problem}"):
        Catalog(tmp_path / "copy")


def test_an_empty_file_of_popular_rows_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / POPULAR_FILE).write_bytes(b"")

    with pytest.raises(BundleError, match=r"popular\.npy: damaged"):
        Catalog(tmp_path / "copy")


WRONG_TABLES: dict[str, tuple[str, dict[str, object], str]] = {
    "titles of another length": (
        ITEMS_FILE, {"title__offsets": np.array([0, 13])}, "columns differ in length",
    ),
    "titles that decrease": (
        ITEMS_FILE, {"title__offsets": np.array([0, 9, 3, 3, 9, 13])}, "offsets of title",
    ),
    "titles beyond the bytes": (
        ITEMS_FILE, {"title__offsets": np.array([0, 3, 3, 3, 99, 99])}, "offsets of title",
    ),
    "ids that are not UTF-8": (
        ITEMS_FILE, {"item_id__values": np.full(11, 255, np.uint8)}, "item_id has a text that",
    ),
    "a character cut in two": (
        ITEMS_FILE, {"item_id__offsets": np.array([0, 1, 2, 3, 6, 11])}, "item_id has a text that",
    ),
    "unknown categories": (
        ITEMS_FILE, {"category__values": np.array([0, 3, 1, 2], np.int32)}, "category has a row",
    ),
    "interactions of others": (
        ITEMS_FILE, {"interactions": np.arange(4)}, "interactions are not 5 whole numbers",
    ),
    "category rows beyond the items": (
        CATEGORIES_FILE, {"rows__values": np.array([0, 0, 3, 5], np.uint32)}, "rows has a row",
    ),
    "names of other categories": (
        CATEGORIES_FILE, {"name__offsets": np.array([0, 1, 3])}, "columns differ in length",
    ),
    "look-up rows beyond the items": (
        LOOKUP_FILE, {"rows": np.array([0, 1, 2, 3, 5])}, "rows has a row outside",
    ),
    "look-up rows that stand twice": (
        LOOKUP_FILE, {"rows": np.array([0, 1, 2, 3, 3])}, "every item row once",
    ),
    "hashes that are not sorted": (
        LOOKUP_FILE, {"hashes": np.array([5, 4, 3, 2, 1], np.uint64)}, "hashes are not sorted",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "edits", "problem"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_tables_that_cannot_be_served_are_refused(
    name: str, edits: dict[str, object], problem: str, folder: Path, tmp_path: Path
) -> None:
    edited(folder, tmp_path / "copy", name, **edits)

    with pytest.raises(BundleError, match=f"{name}: .*{problem}"):
        Catalog(tmp_path / "copy")
