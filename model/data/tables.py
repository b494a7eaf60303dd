"""Tables that people give: CSV (gzip too) or Parquet, one file or a folder of parts.

A table is a lazy Polars scan that numbers its rows, so that one that cannot be used is named by
file and line. This module knows nothing of what the columns mean.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import polars as pl
from polars.exceptions import PolarsError

from model.errors import InputError

READ_ERRORS = (PolarsError, OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error)

CSV_SUFFIXES = (".csv", ".csv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")

LINE = "__line__"
SURPLUS = "__surplus__"

# A field in quotes; where a quote is left without these, CSV does not allow it.
_QUOTED_FIELD = re.compile(r'(?:^|(?<=,))"(?:[^"]|"")*"(?=,|\r?\n?$)')


def find_parts(path: Path) -> list[Path]:
    """List the files of a log in name order.

    Args:
        path: A file, or a folder whose visible files are the parts.

    Raises:
        InputError: Nothing is there, or a file is neither CSV nor Parquet.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(_visible_files(path))
    if not files:
        raise InputError(f"{path}: the folder holds no CSV or Parquet file")
    for file in files:
        if not file.name.endswith(CSV_SUFFIXES + PARQUET_SUFFIXES):
            raise InputError(f"{file}: expected a name ending in .csv, .csv.gz or .parquet")
    return files


def scan_table(
    file: Path, *, required: tuple[str, ...], example: str
) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    """Scan one CSV or Parquet file; CSV columns come as text.

    Args:
        file: One of ``find_parts``.
        required: Columns that it must have.
        example: A header to show to whoever gives an empty file.

    Returns:
        The lazy frame with a 1-based ``__line__`` (and, for CSV, ``__surplus__``: what stands
        beyond the last column of the header), and the type of each of the file's columns.

    Raises:
        InputError: The file is empty or damaged, or lacks a required column.
    """
    try:
        if is_csv(file):
            header = _read_header(file, example)
            schema: dict[str, pl.DataType] = {name: pl.String() for name in [*header, SURPLUS]}
            # The surplus column catches a row with more fields than the header.
            frame = pl.scan_csv(
                file,
                schema=schema,
                has_header=False,
                skip_rows=1,
                row_index_name=LINE,
                row_index_offset=2,
                truncate_ragged_lines=True,
                missing_columns="insert",
                extra_columns="ignore",  # where the first row has even more
            )
            columns = {name: schema[name] for name in header}
            # A line without anything in it is no row.
            frame = frame.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in schema))
        else:
            columns = dict(pl.read_parquet_schema(file))
            _refuse_reserved(file, list(columns))
            frame = pl.scan_parquet(file, row_index_name=LINE, row_index_offset=1)
    except READ_ERRORS as error:
        raise unreadable(file, error) from error
    for name in required:
        if name not in columns:
            raise InputError(
                f"{file}: column '{name}' is missing; the file has: {', '.join(columns)}"
            )
    return frame, columns


def refuse_nested(
    file: Path, columns: dict[str, pl.DataType], *, flat: Iterable[str], lists: Iterable[str] = ()
) -> None:
    """Refuse columns of Parquet that hold more than one value a row where one is expected.

    Args:
        file: The table, for messages.
        columns: The types of its columns.
        flat: Those that hold one value, where they are there.
        lists: Those that may hold lists of such values.

    Raises:
        InputError: One holds lists, or structs.
    """
    for name in (*flat, *lists):
        dtype = columns.get(name)
        if name in lists and isinstance(dtype, pl.List | pl.Array):
            dtype = cast(pl.DataType, dtype.inner)
        if dtype is not None and dtype.is_nested():
            expected = "one text or a list of texts" if name in lists else "one value"
            raise InputError(
                f"{file}: column '{name}' is of type {columns[name]}; expected {expected} a row: "
                "write it so, or leave the column out"
            )


def surplus_problem(columns: dict[str, pl.DataType]) -> tuple[pl.Expr, pl.Expr]:
    """Say what is wrong with a row that has more fields than the header.

    Args:
        columns: Those of the file.

    Returns:
        A condition, and the message where it holds.
    """
    fields = "one field" if len(columns) == 1 else f"{len(columns)} fields"
    return pl.col(SURPLUS).is_not_null(), pl.lit(
        f'more than the header\'s {fields}; write a field that holds a comma as "...", '
        "or name the further ones in the header"
    )


def is_csv(file: Path) -> bool:
    """Tell whether a file is read as CSV."""
    return file.name.endswith(CSV_SUFFIXES)


def place_of(file: Path, record: int) -> str:
    """Say where a row stands, given its ``__line__``: "line 7" of a CSV, "row 6" of Parquet."""
    if not is_csv(file):
        return f"row {record}"
    # A quoted field may span lines: only a second reading tells the line of a record.
    begins = 1
    with _open_text(file) as text:
        reader = csv.reader(text)
        for number, _ in enumerate(reader, start=1):
            if number == record:
                return f"line {begins}"
            begins = reader.line_num + 1
    return f"line {record}"


def unreadable(file: Path, error: Exception) -> InputError:
    """Turn an error of the reader into one line that names the file, and the line if it can."""
    reason = f"cannot be read: {str(error).splitlines()[0]}"
    if is_csv(file):
        reason = _find_damage(file) or reason
    return InputError(f"{file}: {reason}")


def _find_damage(file: Path) -> str | None:
    """Say what is wrong with a CSV file that Polars refuses, and on which line."""
    line = 0
    try:
        with _open_bytes(file) as content:
            for line, raw in enumerate(content, start=1):  # noqa: B007 - the message names it
                raw.decode()
        line = 0
        with _open_text(file) as text:
            record: list[str] = []  # its lines
            rows = csv.reader(_copy_to(record, text), strict=True)
            for _ in rows:
                if '"' in _QUOTED_FIELD.sub("", "".join(record)):
                    return (
                        f"line {line + 1}: a quote within a field; "
                        'write the field as "..." with "" for "'
                    )
                line = rows.line_num
                record.clear()
    except csv.Error as damage:
        return f"the row that begins at line {line + 1}: {damage}"
    except UnicodeDecodeError:
        return f"line {line}: not UTF-8 text"
    except (OSError, EOFError, zlib.error) as damage:
        return f"damaged: {damage}"
    return None


def _copy_to(seen: list[str], lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        seen.append(line)
        yield line


def _visible_files(folder: Path) -> Iterator[Path]:
    # Writers leave markers such as _SUCCESS and .crc beside their parts.
    return (file for file in folder.iterdir() if file.is_file() and file.name[0] not in "._")


def _open_bytes(file: Path) -> BinaryIO:
    # gzip's own type says IO[bytes]; a BinaryIO is what it is.
    return cast(BinaryIO, gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


def _open_text(file: Path) -> TextIO:
    return io.TextIOWrapper(_open_bytes(file), encoding="utf-8", newline="")


def _read_header(file: Path, example: str) -> list[str]:
    with _open_text(file) as text:
        header = next(csv.reader(text), [])
    header = [name.removeprefix("\ufeff").strip() for name in header]
    if not any(header):
        raise InputError(f"{file}: empty; expected a header such as {example}")
    if len(set(header)) < len(header):
        raise InputError(f"{file}: line 1: a column name stands twice: {', '.join(header)}")
    _refuse_reserved(file, header)
    return header


def _refuse_reserved(file: Path, columns: list[str]) -> None:
    for name in (LINE, SURPLUS):
        if name in columns:
            raise InputError(f"{file}: a column must not be named '{name}'; rename or drop it")
