"""Read what is known of items: ``item_id`` and optionally ``title``, ``category``, ``url``."""

from pathlib import Path

import polars as pl

from model.errors import InputError
from model.tables import (
    LINE,
    READ_ERRORS,
    SURPLUS,
    find_parts,
    is_csv,
    place_of,
    scan_table,
    unreadable,
)

CATEGORY_SEPARATOR = "|"

ITEM_SCHEMA = {
    "item_id": pl.String(),
    "title": pl.String(),
    "category": pl.List(pl.String()),
    "url": pl.String(),
}


def read_items(path: Path) -> pl.DataFrame:
    """Read an item table: one file or a folder of parts.

    Returns:
        Columns of ``ITEM_SCHEMA``; ``category`` is a list, empty where nothing is given.

    Raises:
        InputError: A row has no ``item_id`` or too many fields, or an ``item_id`` stands twice.
    """
    frames = [_read_part(file) for file in find_parts(path)]
    items = pl.concat(frames)
    twice = items.filter(pl.col("item_id").is_duplicated())
    if twice.height:
        raise InputError(f"{path}: item_id '{twice['item_id'][0]}' stands more than once")
    return items


def no_items() -> pl.DataFrame:
    """Return an empty item table, for a log that comes without one."""
    return pl.DataFrame(schema=ITEM_SCHEMA)


def _read_part(file: Path) -> pl.DataFrame:
    frame, columns = scan_table(file, required=("item_id",))
    try:
        rows = frame.select(
            pl.col(LINE),
            pl.col(SURPLUS) if is_csv(file) else pl.lit(None, dtype=pl.String).alias(SURPLUS),
            pl.col("item_id").cast(pl.String).str.strip_chars(),
            _text("title", columns),
            _categories(columns),
            _text("url", columns),
        ).collect()
    except READ_ERRORS as error:
        raise unreadable(file, error) from error
    nameless = pl.col("item_id").is_null() | (pl.col("item_id") == "")
    problem = (
        pl.when(pl.col(SURPLUS).is_not_null())
        .then(pl.lit(f"more than the header's {len(columns)} fields"))
        .when(nameless)
        .then(pl.lit("field 'item_id' is empty"))
        .when(~pl.col("item_id").is_first_distinct())
        .then(pl.format("item_id '{}' stands more than once", "item_id"))
    )
    bad = rows.select(LINE, problem.alias("problem")).drop_nulls("problem")
    if bad.height:
        line, text = bad.row(0)
        raise InputError(f"{file}: {place_of(file, line)}: {text}")
    return rows.select(list(ITEM_SCHEMA))


def _text(name: str, columns: dict[str, pl.DataType]) -> pl.Expr:
    if name not in columns:
        return pl.lit(None, dtype=pl.String).alias(name)
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text == "").then(None).otherwise(text).alias(name)


def _categories(columns: dict[str, pl.DataType]) -> pl.Expr:
    """One or several categories, separated by ``|``, or a list column of Parquet."""
    empty = pl.lit([], dtype=pl.List(pl.String))
    dtype = columns.get("category")
    if dtype is None:
        return empty.alias("category")
    column = pl.col("category")
    if not isinstance(dtype, pl.List):
        column = column.cast(pl.String).str.split(CATEGORY_SEPARATOR)
    names = column.cast(pl.List(pl.String)).list.eval(
        pl.element().str.strip_chars().filter(pl.element().str.strip_chars() != "")
    )
    return pl.coalesce(names.list.unique(maintain_order=True), empty).alias("category")
