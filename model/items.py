"""Read what is known of items: ``item_id`` and optionally ``title``, ``category``, ``url``."""

from pathlib import Path

import polars as pl

from model.errors import InputError
from model.ids import clean_id, id_problems
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

SIMILAR_TO = "similar_to"

ITEM_SCHEMA = {
    "item_id": pl.String(),
    "title": pl.String(),
    "category": pl.List(pl.String()),
    "url": pl.String(),
}


def read_items(path: Path, *, similar_to: bool = False) -> pl.DataFrame:
    """Read an item table: one file or a folder of parts.

    Args:
        path: CSV or Parquet.
        similar_to: Read a column of this name too: ids of items that each one is like.

    Returns:
        Columns of ``ITEM_SCHEMA`` and, if asked for, ``SIMILAR_TO``; ``category`` and these ids are
        lists, empty where nothing is given.

    Raises:
        InputError: A row has no usable ``item_id`` or too many fields, or an ``item_id`` stands
            twice.
    """
    columns = [*ITEM_SCHEMA, *([SIMILAR_TO] if similar_to else [])]
    items = pl.concat([_read_part(file).select(columns) for file in find_parts(path)])
    twice = items.filter(pl.col("item_id").is_duplicated())
    if twice.height:
        raise InputError(f"{path}: item_id '{twice['item_id'][0]}' stands more than once")
    return items


def no_items() -> pl.DataFrame:
    """Return an empty item table, for a log that comes without one."""
    return pl.DataFrame(schema=ITEM_SCHEMA)


def _read_part(file: Path) -> pl.DataFrame:
    frame, columns = scan_table(file, required=("item_id",), example=",".join(ITEM_SCHEMA))
    try:
        rows = frame.select(
            pl.col(LINE),
            pl.col(SURPLUS) if is_csv(file) else pl.lit(None, dtype=pl.String).alias(SURPLUS),
            clean_id("item_id", columns["item_id"]),
            _text("title", columns),
            _texts("category", columns),
            _text("url", columns),
            _texts(SIMILAR_TO, columns),
        ).collect()
    except READ_ERRORS as error:
        raise unreadable(file, error) from error
    checks = [
        (pl.col(SURPLUS).is_not_null(), pl.lit(f"more than the header's {len(columns)} fields")),
        *id_problems("item_id", columns["item_id"]),
        (
            ~pl.col("item_id").is_first_distinct(),
            pl.format("item_id '{}' stands more than once", "item_id"),
        ),
    ]
    problem = pl.coalesce([pl.when(bad).then(message) for bad, message in checks])
    bad = rows.select(LINE, problem.alias("problem")).drop_nulls("problem")
    if bad.height:
        line, text = bad.row(0)
        raise InputError(f"{file}: {place_of(file, line)}: {text}")
    return rows.select([*ITEM_SCHEMA, SIMILAR_TO])


def _text(name: str, columns: dict[str, pl.DataType]) -> pl.Expr:
    if name not in columns:
        return pl.lit(None, dtype=pl.String).alias(name)
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text == "").then(None).otherwise(text).alias(name)


def _texts(name: str, columns: dict[str, pl.DataType]) -> pl.Expr:
    """One or several texts, separated by ``|``, or a list column of Parquet."""
    empty = pl.lit([], dtype=pl.List(pl.String))
    dtype = columns.get(name)
    if dtype is None:
        return empty.alias(name)
    column = pl.col(name)
    if not isinstance(dtype, pl.List):
        column = column.cast(pl.String).str.split(CATEGORY_SEPARATOR)
    names = column.cast(pl.List(pl.String)).list.eval(
        pl.element().str.strip_chars().filter(pl.element().str.strip_chars() != "")
    )
    return pl.coalesce(names.list.unique(maintain_order=True), empty).alias(name)
