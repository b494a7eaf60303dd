"""Read what is known of items: ``item_id`` and optionally ``title``, ``category``, ``url``."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from model.data.ids import MAX_ID_LENGTH, clean_id, id_problems
from model.data.tables import (
    CSV_SUFFIXES,
    LINE,
    PARQUET_SUFFIXES,
    READ_ERRORS,
    SURPLUS,
    find_parts,
    is_csv,
    place_of,
    refuse_nested,
    scan_table,
    surplus_problem,
    unreadable,
)
from model.errors import InputError

CATEGORY_SEPARATOR = "|"

SIMILAR_TO = "similar_to"

ITEM_SCHEMA = {
    "item_id": pl.String(),
    "title": pl.String(),
    "category": pl.List(pl.String()),
    "url": pl.String(),
}


class ListedId(NamedTuple):
    """An item id of a file, and where it stands there.

    Attributes:
        item_id: The id.
        file: The file.
        record: Its line, or the row of a table.
    """

    item_id: str
    file: Path
    record: int

    def place(self) -> str:
        """Say where it stands, for a message."""
        if self.file.name.endswith(CSV_SUFFIXES + PARQUET_SUFFIXES):
            return f"{self.file}: {place_of(self.file, self.record)}"
        return f"{self.file}: line {self.record}"


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


def read_item_ids(path: Path) -> list[ListedId]:
    """Read ids only: of item tables as ``read_items`` does, of any other file one a line.

    Args:
        path: CSV or Parquet by its name, a folder of such parts, or text in UTF-8.

    Raises:
        InputError: It cannot be read, holds no id, or a row has none that can be used.
    """
    if path.is_dir() or path.name.endswith(CSV_SUFFIXES + PARQUET_SUFFIXES):
        listed = [
            ListedId(item_id, file, record)
            for file in find_parts(path)
            for item_id, record in _read_part(file).select("item_id", LINE).iter_rows()
        ]
    else:
        listed = _read_lines(path)
    if not listed:
        raise InputError(f"{path}: holds no item id")
    return listed


def no_items() -> pl.DataFrame:
    """Return an empty item table, for a log that comes without one."""
    return pl.DataFrame(schema=ITEM_SCHEMA)


def _read_part(file: Path) -> pl.DataFrame:
    frame, columns = scan_table(file, required=("item_id",), example=",".join(ITEM_SCHEMA))
    refuse_nested(file, columns, flat=("item_id", "title", "url"), lists=("category", SIMILAR_TO))
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
        surplus_problem(columns),
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
    return rows.select([*ITEM_SCHEMA, SIMILAR_TO, LINE])


def _read_lines(path: Path) -> list[ListedId]:
    """Read a file with one id a line; empty lines are none."""
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    listed = []
    for number, line in enumerate(lines, start=1):
        try:
            item_id = line.decode().strip()
        except UnicodeDecodeError:
            raise InputError(f"{path}: line {number}: not UTF-8 text") from None
        if len(item_id) > MAX_ID_LENGTH:
            raise InputError(
                f"{path}: line {number}: has {len(item_id)} characters; an id has at most "
                f"{MAX_ID_LENGTH}"
            )
        if item_id:
            listed.append(ListedId(item_id, path, number))
    return listed


def _text(name: str, columns: dict[str, pl.DataType]) -> pl.Expr:
    if name not in columns:
        return pl.lit(None, dtype=pl.String).alias(name)
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text == "").then(None).otherwise(text).alias(name)


def _texts(name: str, columns: dict[str, pl.DataType]) -> pl.Expr:
    """One or several texts, separated by ``|``, or a list or array column of Parquet."""
    empty = pl.lit([], dtype=pl.List(pl.String))
    dtype = columns.get(name)
    if dtype is None:
        return empty.alias(name)
    column = pl.col(name)
    if isinstance(dtype, pl.Array):
        column = column.arr.to_list()
    elif not isinstance(dtype, pl.List):
        column = column.cast(pl.String).str.split(CATEGORY_SEPARATOR)
    names = column.cast(pl.List(pl.String)).list.eval(
        pl.element().str.strip_chars().filter(pl.element().str.strip_chars() != "")
    )
    return pl.coalesce(names.list.unique(maintain_order=True), empty).alias(name)
