"""Read an interaction log: CSV (gzip too) or Parquet, one file or a folder of parts.

Everything is a lazy Polars scan, so that a log larger than memory can be read. Rows are checked
as they are read: one that cannot be used is named by file and line, or skipped and counted.

This module knows nothing of splits, vocabularies or tensors.
"""

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TextIO, cast

import polars as pl
from polars.exceptions import PolarsError

from model.errors import InputError

OnBadRow = Literal["stop", "skip"]

READ_ERRORS = (PolarsError, OSError, EOFError, UnicodeDecodeError)

CSV_SUFFIXES = (".csv", ".csv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")

# 10^11 s lies in the year 5138; in milliseconds it is 1973. Beyond it, milliseconds were meant.
_LATEST_SECOND = 100_000_000_000
_SURPLUS = "__surplus__"
_LINE = "__line__"
_ISO_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")


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


def scan_interactions(path: Path) -> list["LogPart"]:
    """Open every part of a log lazily; nothing but the headers is read yet.

    Raises:
        InputError: A part lacks a column, or some parts have timestamps and some do not.
    """
    parts = [LogPart(file) for file in find_parts(path)]
    with_time = [part for part in parts if part.has_timestamps]
    if with_time and len(with_time) < len(parts):
        lacking = next(part.file for part in parts if not part.has_timestamps)
        raise InputError(
            f"{lacking}: column 'timestamp' is missing, but {with_time[0].file} has it; "
            "all parts of a log need the same columns"
        )
    return parts


class LogPart:
    """One file of a log as a lazy scan.

    Attributes:
        file: The file.
        has_timestamps: Whether it has a column ``timestamp``.
        rows: Lazy frame with ``user_id`` and ``item_id`` (String), ``timestamp`` (Float64, seconds
            since epoch, null without the column), ``weight`` (Float64, 1.0 without the column),
            ``__line__`` (1-based line of a CSV, row of a Parquet file) and ``problem`` (String,
            null where the row is good).
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._is_csv = file.name.endswith(CSV_SUFFIXES)
        frame, columns = scan_table(file, required=("user_id", "item_id"))
        self.has_timestamps = "timestamp" in columns
        self.rows = frame.select(
            _clean_id("user_id"),
            _clean_id("item_id"),
            _seconds(columns["timestamp"]) if self.has_timestamps else _nothing("timestamp"),
            pl.col("weight").cast(pl.Float64, strict=False).alias("weight")
            if "weight" in columns
            else pl.lit(1.0).alias("weight"),
            pl.col(_LINE),
            *self._raw("timestamp", columns),
            *self._raw("weight", columns),
            pl.col(_SURPLUS) if self._is_csv else _nothing(_SURPLUS),
        ).with_columns(_problem(columns))

    @staticmethod
    def _raw(name: str, columns: dict[str, pl.DataType]) -> list[pl.Expr]:
        return [pl.col(name).cast(pl.String).alias(f"raw_{name}")] if name in columns else []

    def good_rows(self) -> pl.LazyFrame:
        """Return the rows that can be used: user_id, item_id, timestamp, weight."""
        return self.rows.filter(pl.col("problem").is_null()).select(
            "user_id", "item_id", "timestamp", "weight"
        )

    def bad_rows(self) -> pl.LazyFrame:
        """Return ``__line__`` and ``problem`` of the rows that cannot be used, in file order."""
        return self.rows.filter(pl.col("problem").is_not_null()).select(_LINE, "problem")

    def check(self, on_bad_row: OnBadRow) -> int:
        """Count the rows that cannot be used.

        Raises:
            InputError: ``on_bad_row`` is "stop" and there is one; the message names its line.
        """
        try:
            if on_bad_row == "skip":
                return int(self.bad_rows().select(pl.len()).collect(engine="streaming").item())
            first = self.bad_rows().head(1).collect(engine="streaming")
        except READ_ERRORS as error:
            raise unreadable(self.file, error) from error
        if first.height == 0:
            return 0
        record, problem = first.row(0)
        raise InputError(
            f"{self.file}: {self._place(record)}: {problem} "
            "(mend the row, or pass --on-bad-row skip to leave such rows out and count them)"
        )

    def _place(self, record: int) -> str:
        if not self._is_csv:
            return f"row {record}"
        # A quoted field may span lines: only a second reading tells the line of a record.
        with _open_text(self.file) as text:
            reader = csv.reader(text)
            for number, _ in enumerate(reader, start=1):
                if number == record:
                    return f"line {reader.line_num}"
        return f"line {record}"


def scan_table(
    file: Path, *, required: tuple[str, ...]
) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    """Scan one CSV or Parquet file; CSV columns come as text.

    Returns:
        The lazy frame with a 1-based ``__line__`` (and, for CSV, ``__surplus__``: what stands
        beyond the last column of the header), and the type of each of the file's columns.

    Raises:
        InputError: The file is empty or damaged, or lacks a required column.
    """
    try:
        if file.name.endswith(CSV_SUFFIXES):
            header = _read_header(file)
            schema: dict[str, pl.DataType] = {name: pl.String() for name in [*header, _SURPLUS]}
            # The surplus column catches a row with more fields than the header.
            frame = pl.scan_csv(
                file,
                schema=schema,
                has_header=False,
                skip_rows=1,
                row_index_name=_LINE,
                row_index_offset=2,
                truncate_ragged_lines=True,
                missing_columns="insert",
            )
            columns = {name: schema[name] for name in header}
            # A line without anything in it is no row.
            frame = frame.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in schema))
        else:
            frame = pl.scan_parquet(file, row_index_name=_LINE, row_index_offset=1)
            columns = dict(pl.read_parquet_schema(file))
    except READ_ERRORS as error:
        raise unreadable(file, error) from error
    for name in required:
        if name not in columns:
            raise InputError(
                f"{file}: column '{name}' is missing; the file has: {', '.join(columns)}"
            )
    return frame, columns


def unreadable(file: Path, error: Exception) -> InputError:
    """Turn an error of the reader into one line that names the file, and the line if it can."""
    if file.name.endswith(CSV_SUFFIXES):
        lines = 0
        try:
            with _open_bytes(file) as content:
                for lines, line in enumerate(content, start=1):  # noqa: B007
                    line.decode()
            with _open_text(file) as text:
                for lines, _ in enumerate(csv.reader(text, strict=True), start=1):  # noqa: B007
                    pass
        except csv.Error as damage:
            return InputError(f"{file}: the row that begins near line {lines + 1}: {damage}")
        except UnicodeDecodeError:
            return InputError(f"{file}: line {lines}: not UTF-8 text")
        except (OSError, EOFError) as damage:
            return InputError(f"{file}: damaged: {damage}")
    return InputError(f"{file}: cannot be read: {str(error).splitlines()[0]}")


def _visible_files(folder: Path) -> Iterator[Path]:
    # Writers leave markers such as _SUCCESS and .crc beside their parts.
    return (file for file in folder.iterdir() if file.is_file() and file.name[0] not in "._")


def _open_bytes(file: Path) -> BinaryIO:
    # gzip's own type says IO[bytes]; a BinaryIO is what it is.
    return cast(BinaryIO, gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


def _open_text(file: Path) -> TextIO:
    return io.TextIOWrapper(_open_bytes(file), encoding="utf-8", newline="")


def _read_header(file: Path) -> list[str]:
    with _open_text(file) as text:
        header = next(csv.reader(text), [])
    header = [name.removeprefix("\ufeff").strip() for name in header]
    if not any(header):
        raise InputError(f"{file}: empty; expected a header such as user_id,item_id,timestamp")
    if len(set(header)) < len(header):
        raise InputError(f"{file}: line 1: a column name stands twice: {', '.join(header)}")
    return header


def _clean_id(name: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text == "").then(None).otherwise(text).alias(name)


def _nothing(name: str) -> pl.Expr:
    dtype = pl.String if name == _SURPLUS else pl.Float64
    return pl.lit(None, dtype=dtype).alias(name)


def _seconds(dtype: pl.DataType) -> pl.Expr:
    """Seconds since epoch from a number, a text (number or ISO 8601; no zone: UTC) or a date."""
    column = pl.col("timestamp")
    if dtype.is_temporal():
        return (column.cast(pl.Datetime("us")).dt.epoch("us") / 1e6).alias("timestamp")
    if dtype.is_numeric():
        return column.cast(pl.Float64).alias("timestamp")
    text = column.cast(pl.String).str.strip_chars()
    iso = text.str.replace(" ", "T", literal=True).str.replace(r"[zZ]$", "+00:00")
    moments = [
        iso.str.to_datetime(pattern, strict=False, time_unit="us", time_zone="UTC")
        if pattern.endswith("z")
        else iso.str.to_datetime(pattern, strict=False, time_unit="us").dt.replace_time_zone("UTC")
        for pattern in _ISO_FORMATS
    ]
    return pl.coalesce(
        text.cast(pl.Float64, strict=False), pl.coalesce(moments).dt.epoch("us") / 1e6
    ).alias("timestamp")


def _problem(columns: dict[str, pl.DataType]) -> pl.Expr:
    """Say what is wrong with a row; null where nothing is."""
    checks = [
        (pl.col(_SURPLUS).is_not_null(), pl.lit(f"more than the header's {len(columns)} fields")),
        (pl.col("user_id").is_null(), pl.lit("field 'user_id' is empty")),
        (pl.col("item_id").is_null(), pl.lit("field 'item_id' is empty")),
    ]
    if "timestamp" in columns:
        raw = pl.coalesce(pl.col("raw_timestamp"), pl.lit(""))
        seconds = pl.col("timestamp")
        checks += [
            (
                seconds.is_null() | ~seconds.is_finite(),
                pl.format(
                    "field 'timestamp' is '{}'; expected seconds since epoch or ISO 8601", raw
                ),
            ),
            (
                seconds.abs() > _LATEST_SECOND,
                pl.format(
                    "field 'timestamp' is {}; expected seconds, this looks like milliseconds", raw
                ),
            ),
        ]
    if "weight" in columns:
        raw = pl.coalesce(pl.col("raw_weight"), pl.lit(""))
        weight = pl.col("weight")
        bad = weight.is_null() | ~weight.is_finite() | (weight < 0)
        checks.append((bad, pl.format("field 'weight' is '{}'; expected a number ≥ 0", raw)))
    return pl.coalesce([pl.when(bad).then(message) for bad, message in checks]).alias("problem")
