"""Read an interaction log, a table as ``model.data.tables`` reads it.

Everything is a lazy Polars scan, so that a log larger than memory can be read. Rows are checked
as they are read: one that cannot be used is named by file and line, or skipped and counted.

This module knows nothing of splits, vocabularies or tensors.
"""

from pathlib import Path
from typing import Literal

import polars as pl

from model.data.ids import clean_id, id_problems
from model.data.tables import (
    LINE,
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

OnBadRow = Literal["stop", "skip"]

EXAMPLE_HEADER = "user_id,item_id,timestamp"

# 10^11 s lies in the year 5138; in milliseconds it is 1973. Beyond it, milliseconds were meant.
_LATEST_SECOND = 100_000_000_000
_ISO_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M%:z",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
)


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
        rows: Lazy frame with ``user_id`` and ``item_id`` (String, without space around it),
            ``timestamp`` (Float64, seconds since epoch, null without the column), ``weight``
            (Float64, 1.0 without the column), ``__line__`` (1-based line of a CSV, row of a Parquet
            file) and ``problem`` (String, null where the row is good).
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        frame, columns = scan_table(file, required=("user_id", "item_id"), example=EXAMPLE_HEADER)
        refuse_nested(file, columns, flat=("user_id", "item_id", "timestamp", "weight"))
        self.has_timestamps = "timestamp" in columns
        self.rows = frame.select(
            clean_id("user_id", columns["user_id"]),
            clean_id("item_id", columns["item_id"]),
            _seconds(columns["timestamp"]) if self.has_timestamps else _nothing("timestamp"),
            pl.col("weight").cast(pl.Float64, strict=False).alias("weight")
            if "weight" in columns
            else pl.lit(1.0).alias("weight"),
            pl.col(LINE),
            *self._raw("timestamp", columns),
            *self._raw("weight", columns),
            pl.col(SURPLUS) if is_csv(file) else _nothing(SURPLUS),
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
        return self.rows.filter(pl.col("problem").is_not_null()).select(LINE, "problem")

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
            f"{self.file}: {place_of(self.file, record)}: {problem} "
            "(mend the row, or pass --on-bad-row skip to leave such rows out and count them)"
        )


def _nothing(name: str) -> pl.Expr:
    dtype = pl.String if name == SURPLUS else pl.Float64
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
        surplus_problem(columns),
        *id_problems("user_id", columns["user_id"]),
        *id_problems("item_id", columns["item_id"]),
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
