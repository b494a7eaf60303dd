"""Item rows to ids, titles, categories and popularity, and back; everything memory-mapped.

items.safetensors       by item row: id, title, url, category numbers, interactions, cold or not,
                        and how answers name it
categories.safetensors  by category number: name, item rows
id_lookup.safetensors   sorted hashes of the item ids, and their rows
popular.npy             all item rows, most interactions first
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
from numpy.typing import NDArray

from index.bundles.catalog_checks import (
    check_counts,
    check_flags,
    check_lengths,
    check_lists,
    check_lookup,
    check_permutation,
    check_texts,
)
from index.bundles.lists import ERRORS, ListColumn, TextColumn, list_tensors, text_tensors
from index.search.item_index import NO_ROW
from index.tensor_files import open_tensors, write_bytes, write_tensors
from model.arrays import Mask, Rows
from model.errors import BundleError
from model.tensor_files import DAMAGE, Tensors

if TYPE_CHECKING:
    import polars as pl  # for the writer's argument; a worker only reads

ITEMS_FILE = "items.safetensors"
CATEGORIES_FILE = "categories.safetensors"
LOOKUP_FILE = "id_lookup.safetensors"
POPULAR_FILE = "popular.npy"

ITEM_COLUMNS = ("item_id", "title", "category", "url", "interactions")
TEXT_COLUMNS = ("item_id", "title", "url")
MEMBERS = "members"

_MOST_KNOWN = 1 << 16
"""Ids whose rows are remembered: most requests name popular items. Takes 10 MB, rarely more."""


class Catalog:
    """The items of a bundle.

    Args:
        folder: Where ``write_catalog`` wrote.

    Raises:
        BundleError: A file is missing or damaged, or the files do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        items, lookup = open_tensors(folder / ITEMS_FILE), open_tensors(folder / LOOKUP_FILE)
        categories = open_tensors(folder / CATEGORIES_FILE)
        popular = _open_popular(folder / POPULAR_FILE)
        with _named(folder / ITEMS_FILE):
            for name in TEXT_COLUMNS:
                check_texts(items, name)
            self._ids, self._titles = TextColumn(items, "item_id"), TextColumn(items, "title")
            self._urls = TextColumn(items, "url")
            self._members = self._open_members(items)
            self._codes = ListColumn(items, "category")
            self.n_items = len(self._ids)
            self.interactions: Rows = items["interactions"]
            check_counts(self.interactions, self.n_items, "interactions")
            # Bundles of an earlier program do not have the column, and no such items.
            cold = items.get("cold", np.zeros(self.n_items, dtype=np.uint8))
            check_flags(cold, self.n_items, "cold")
            self.cold: Mask = cold.view(np.bool_)
        with _named(folder / CATEGORIES_FILE):
            check_texts(categories, "name")
            names = TextColumn(categories, "name")
            check_lists(categories, "rows", self.n_items)
            self._rows_of_category = ListColumn(categories, "rows")
            check_lengths({len(self._rows_of_category)}, len(names))
        with _named(folder / ITEMS_FILE):
            check_lists(items, "category", len(names))
            columns = (self._codes, self._titles, self._members)
            check_lengths({len(each) for each in columns}, self.n_items)
        with _named(folder / LOOKUP_FILE):
            self._hashes: NDArray[np.uint64] = lookup["hashes"]
            self._rows: Rows = lookup["rows"]
            check_lookup(self._hashes, self._rows, self.n_items)
            check_lengths({len(self._hashes)}, self.n_items)
        with _named(folder / ITEMS_FILE):
            self._require_different_ids()
        with _named(folder / POPULAR_FILE):
            check_permutation(popular, self.n_items, "popular rows")
        self.popular = popular
        self._category_names = names.take(np.arange(len(names)))
        self._category_codes = {name: code for code, name in enumerate(self._category_names)}
        self._known_rows: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Catalog {self.n_items} items, {len(self._category_names)} categories>"

    def rows_of(self, item_ids: Sequence[str]) -> Rows:
        """Look up item ids.

        Args:
            item_ids: Any texts.

        Returns:
            Item rows, -1 where the id is unknown. Shape (len(item_ids),), int64.
        """
        known = self._known_rows
        new = [each for each in item_ids if each not in known]
        if new:
            if len(known) + len(new) > _MOST_KNOWN:
                # Another dictionary, since other threads may be reading this one.
                known = self._known_rows = {}
                new = list(item_ids)
            found = dict(zip(new, self._looked_up(new).tolist(), strict=True))
            # Only ids of the catalog: others are as many, and as long, as callers like.
            known.update({each: row for each, row in found.items() if row != NO_ROW})
        return np.array([known.get(each, NO_ROW) for each in item_ids], dtype=np.int64)

    def _looked_up(self, item_ids: Sequence[str]) -> Rows:
        """Do what ``rows_of`` promises by the tables."""
        hashes = hash_ids(item_ids)
        positions = np.searchsorted(self._hashes, hashes)
        positions[positions == self.n_items] = 0
        rows = np.where(self._hashes[positions] == hashes, self._rows[positions], NO_ROW)
        known = np.flatnonzero(rows != NO_ROW)
        # Two ids can share a hash: the id itself decides.
        for place, found in zip(known.tolist(), self.ids_of(rows[known]), strict=True):
            if found != item_ids[place]:
                rows[place] = self._row_beside(int(positions[place]), item_ids[place])
        return rows

    def _open_members(self, items: Tensors) -> TextColumn:
        """Open what ``members_of`` returns; bundles of an earlier program do not have it."""
        if f"{MEMBERS}.values" not in items:
            rows = np.arange(len(self._ids))
            items = text_tensors(MEMBERS, _members(self.ids_of(rows), self.titles_of(rows)))
        check_texts(items, MEMBERS)
        return TextColumn(items, MEMBERS)

    def _require_different_ids(self) -> None:
        """Raise ValueError where two rows have the same id, which hash alike."""
        alike = np.flatnonzero(self._hashes[:-1] == self._hashes[1:])
        ids = self.ids_of(self._rows[np.union1d(alike, alike + 1)])
        if len(set(ids)) < len(ids):
            repeated = next(each for each in ids if ids.count(each) > 1)
            raise ValueError(f"item_id {repeated!r} occurs twice")

    def _row_beside(self, position: int, item_id: str) -> int:
        """Look for an id among those with the same hash, which begin at ``position``."""
        end = int(np.searchsorted(self._hashes, self._hashes[position], side="right"))
        rows = self._rows[position:end]
        ids = self.ids_of(rows)
        return int(rows[ids.index(item_id)]) if item_id in ids else NO_ROW

    def ids_of(self, rows: Rows) -> list[str]:
        """Return the ids of these rows. Shape (n,), int64."""
        return self._ids.take(rows)

    def titles_of(self, rows: Rows) -> list[str | None]:
        """Return the titles of these rows, None where there is none. Shape (n,), int64."""
        return [title or None for title in self._titles.take(rows)]

    def members_of(self, rows: Rows) -> list[bytes]:
        """Return how answers name the items of these rows. Shape (n,), int64.

        Returns:
            Members of a JSON object without its braces, UTF-8: ``item_id``, and ``title`` where
            there is one.
        """
        return self._members.take_bytes(rows)

    def categories_of(self, rows: Rows) -> list[list[str]]:
        """Return the category names of these rows. Shape (n,), int64."""
        names = self._category_names
        return [[names[code] for code in self._codes[row].tolist()] for row in rows.tolist()]

    def to_frame(self) -> "pl.DataFrame":
        """Return all items as ``write_catalog`` takes them; row order = item row."""
        import polars as pl

        from model.data.items import ITEM_SCHEMA

        rows = np.arange(self.n_items)
        urls = [url or None for url in self._urls.take(rows)]
        return pl.DataFrame(
            {
                "item_id": self.ids_of(rows),
                "title": self.titles_of(rows),
                "category": self.categories_of(rows),
                "url": urls,
                "interactions": self.interactions,
                "cold": self.cold,
            },
            schema={**ITEM_SCHEMA, "interactions": pl.Int64(), "cold": pl.Boolean()},
        )

    def rows_in(self, categories: Sequence[str]) -> Rows:
        """Return the rows that have any of these categories; unknown names give nothing.

        Returns:
            Ascending, each once. Shape (n,), int64.
        """
        codes = [self._category_codes[name] for name in categories if name in self._category_codes]
        if not codes:
            return np.empty(0, dtype=np.int64)
        return np.unique(np.concatenate([self._rows_of_category[code] for code in codes])).astype(
            np.int64
        )


def hash_ids(item_ids: Sequence[str]) -> NDArray[np.uint64]:
    """Hash ids to 64 bits, the same on every machine and for every version. Shape (n,), uint64."""
    digests = [blake2b(each.encode("utf-8", ERRORS), digest_size=8).digest() for each in item_ids]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def write_catalog(items: "pl.DataFrame", folder: Path) -> None:
    """Write the tables of a catalog.

    Args:
        items: Columns of ``items.parquet`` in a run, and perhaps ``cold``: true for items without
            a trained vector. Row order = item row; ids unique.
        folder: Exists already.
    """
    item_ids = items["item_id"].to_list()
    interactions = items["interactions"].fill_null(0).to_numpy().astype(np.int64)
    item_categories = [list(dict.fromkeys(names or [])) for names in items["category"].to_list()]
    names = sorted({name for each in item_categories for name in each})
    numbers = {name: number for number, name in enumerate(names)}
    codes = [np.array([numbers[name] for name in each], dtype=np.int32) for each in item_categories]
    titles = items["title"].fill_null("").to_list()
    table = {
        **text_tensors("item_id", item_ids),
        **text_tensors("title", titles),
        **text_tensors(MEMBERS, _members(item_ids, titles)),
        **text_tensors("url", items["url"].fill_null("").to_list()),
        **list_tensors("category", codes, np.int32),
        "interactions": interactions,
    }
    if "cold" in items.columns and items["cold"].any():
        table["cold"] = items["cold"].to_numpy().astype(np.uint8)
    write_tensors(folder / ITEMS_FILE, table)
    write_tensors(folder / CATEGORIES_FILE, _category_tensors(names, codes))
    hashes = hash_ids(item_ids)
    order = np.argsort(hashes, kind="stable")
    write_tensors(folder / LOOKUP_FILE, {"hashes": hashes[order], "rows": order.astype(np.int64)})
    popular = np.argsort(-interactions, kind="stable").astype(np.int64)
    file = BytesIO()
    np.save(file, popular, allow_pickle=False)
    write_bytes(folder / POPULAR_FILE, file.getvalue())


def _members(item_ids: Sequence[str], titles: Sequence[str | None]) -> Iterator[str]:
    """Write items as the members of JSON objects, once for all answers that will name them."""
    for item_id, title in zip(item_ids, titles, strict=True):
        fields = {"item_id": item_id, "title": title} if title else {"item_id": item_id}
        yield orjson.dumps(fields).decode()[1:-1]


def _category_tensors(names: list[str], codes: list[NDArray[np.int32]]) -> Tensors:
    """Turn item row → category numbers around."""
    flat = np.concatenate([*codes, np.empty(0, dtype=np.int32)])
    row_of = np.repeat(np.arange(len(codes)), [len(each) for each in codes])
    by_category = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=len(names)))
    members = np.split(row_of[by_category], ends)[: len(names)]
    return {**text_tensors("name", names), **list_tensors("rows", members, np.uint32)}


def _open_popular(path: Path) -> Rows:
    try:
        popular: Rows = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise BundleError(f"{path}: is missing; build the bundle again") from None
    except (EOFError, *DAMAGE) as error:
        raise BundleError(f"{path}: damaged ({error}); build the bundle again") from error
    return popular


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what is wrong within a table into an error that names its file."""
    try:
        yield
    except KeyError as error:
        raise BundleError(f"{path}: column {error} is missing; build it again") from None
    except ValueError as error:
        raise BundleError(f"{path}: {error}; build the bundle again") from None
