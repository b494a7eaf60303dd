"""The prepared data set: a folder that training and evaluation read.

``prepare`` writes it, ``Dataset.open`` reads it; both are here so that they cannot drift apart.

    dataset.json           format version, split, counts, skipped rows
    interactions.parquet   user, item (rows), timestamp, part; by user, then time
    items.parquet          item row → item_id, title, category, url, interactions (training count)
"""

import datetime
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from model.arrays import Rows
from model.data.interactions import LogPart, OnBadRow, scan_interactions
from model.data.items import no_items, read_items
from model.data.splits import TRAIN, VALID, SplitChoice, choose_split, with_parts
from model.errors import InputError
from model.files import new_folder, read_json_object

FORMAT_VERSION = 1
LOG_FILE = "log.parquet"
PARTED_FILE = "parted.parquet"
MIN_ITEMS = 2


def prepare(
    interactions: Path,
    out: Path,
    *,
    items: Path | None = None,
    split: SplitChoice = "auto",
    on_bad_row: OnBadRow = "stop",
    min_weight: float = 0.0,
) -> dict[str, Any]:
    """Read a log, split it, number its users and items, and write the data set folder.

    The catalog is what training has seen: items that occur only later are left out everywhere.
    Item rows go by training interactions, most first (ties by id), so that they depend on the
    data alone. Ids are text; space around them does not count (see ``model.data.ids``). Users are
    those who have interactions with items of the catalog.

    Args:
        interactions: The log, a file or a folder of parts.
        out: The folder to make; must not exist.
        items: Titles, categories, urls.
        split: Which split; "auto" chooses by the timestamps.
        on_bad_row: Stop at a row that cannot be used, or skip and count such rows.
        min_weight: Interactions with a smaller weight do not count.

    Returns:
        What ``dataset.json`` holds.

    Raises:
        InputError: The input cannot be used; the message says where and why.
    """
    if not math.isfinite(min_weight):
        raise InputError(f"--min-weight is {min_weight}; expected a number")
    parts = scan_interactions(interactions)
    table = read_items(items) if items else no_items()
    with new_folder(out) as staging:
        skipped = sum(part.check(on_bad_row) for part in parts)
        log = _write_log(parts, min_weight, staging / LOG_FILE)
        _require_rows(log, interactions, skipped)
        numbered = _number_users(log)
        kind, reason = choose_split(numbered, split, has_timestamps=parts[0].has_timestamps)
        parted = with_parts(numbered, kind)
        parted.sink_parquet(staging / PARTED_FILE)
        parted = pl.scan_parquet(staging / PARTED_FILE)
        catalog = _number_items(parted, table)
        catalog.write_parquet(staging / "items.parquet")
        _write_known(parted, catalog, staging / "interactions.parquet")
        for name in (LOG_FILE, PARTED_FILE):
            (staging / name).unlink()
        summary = _summarise(staging, interactions, kind, reason, skipped)
        (staging / "dataset.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


@dataclass(frozen=True)
class Sequences:
    """Histories and targets of one part, for users who have both.

    Attributes:
        histories: Item rows before the part, oldest first; one int64 array per user.
        targets: Distinct item rows of the part that are not in the history; likewise.
    """

    histories: list[Rows]
    targets: list[Rows]

    def sample(self, n_users: int) -> "Sequences":
        """Return some of the users, the same ones each time; all where there are no more."""
        if len(self.histories) <= n_users:
            return self
        drawn = np.random.default_rng(0).choice(len(self.histories), n_users, replace=False)
        drawn.sort()
        return Sequences([self.histories[i] for i in drawn], [self.targets[i] for i in drawn])


@dataclass(frozen=True)
class Dataset:
    """A prepared data set in memory.

    Attributes:
        path: Its folder.
        summary: ``dataset.json``.
        catalog: ``items.parquet``; row order = item row.
        items: All interactions' item rows, by user, then time. Shape (n_interactions,), int64.
        offsets: Start of each user's interactions. Shape (n_users + 1,), int64.
        train_end: End of each user's training part, as an index into ``items``.
            Shape (n_users,), int64.
        valid_end: Likewise of the validation part.
    """

    path: Path
    summary: dict[str, Any]
    catalog: pl.DataFrame
    items: Rows
    offsets: Rows
    train_end: Rows
    valid_end: Rows

    @classmethod
    def open(cls, path: Path) -> "Dataset":
        """Open the folder that ``prepare`` wrote.

        Raises:
            InputError: It is not such a folder, damaged, or of another format version.
        """
        summary = read_summary(path)
        try:
            columns = ["user", "item", "part"]
            rows = pl.read_parquet(path / "interactions.parquet", columns=columns)
            catalog = pl.read_parquet(path / "items.parquet")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(
                f"{path}: the data set is damaged: {str(error).splitlines()[0]}"
            ) from error
        user = rows["user"].to_numpy()
        part = rows["part"].to_numpy()
        n_users = summary["users"]
        lengths = np.bincount(user, minlength=n_users)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        train = np.bincount(user[part == TRAIN], minlength=n_users)
        valid = np.bincount(user[part == VALID], minlength=n_users)
        return cls(
            path=path,
            summary=summary,
            catalog=catalog,
            items=rows["item"].to_numpy().astype(np.int64),
            offsets=offsets,
            train_end=offsets[:-1] + train,
            valid_end=offsets[:-1] + train + valid,
        )

    @property
    def n_users(self) -> int:
        """Users in the log who have interactions with items of the catalog."""
        return len(self.offsets) - 1

    @property
    def n_items(self) -> int:
        """Items in the catalog."""
        return self.catalog.height

    @cached_property
    def valid(self) -> Sequences:
        """History = training part, targets = validation part."""
        return self._sequences(self.train_end, self.valid_end)

    @cached_property
    def test(self) -> Sequences:
        """History = training and validation part, targets = test part."""
        return self._sequences(self.valid_end, self.offsets[1:])

    def _sequences(self, begin: Rows, end: Rows) -> Sequences:
        histories, targets = [], []
        for user in np.flatnonzero((begin > self.offsets[:-1]) & (end > begin)):
            history = self.items[self.offsets[user] : begin[user]]
            new = np.setdiff1d(self.items[begin[user] : end[user]], history)
            if len(new):
                histories.append(history)
                targets.append(new)
        return Sequences(histories, targets)

    def __repr__(self) -> str:
        """Show what it holds."""
        return f"<Dataset {self.path.name}: {self.n_users} users, {self.n_items} items>"


def read_summary(path: Path) -> dict[str, Any]:
    """Read ``dataset.json`` alone.

    Raises:
        InputError: See ``Dataset.open``.
    """
    try:
        summary = read_json_object(path / "dataset.json")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a prepared data set ({error}); make one with `python -m model prepare`"
        ) from error
    if summary.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: data set format {summary.get('format_version')}, this program reads "
            f"{FORMAT_VERSION}; prepare it again"
        )
    return summary


def _write_log(parts: list[LogPart], min_weight: float, path: Path) -> pl.LazyFrame:
    """Write one typed copy to disk; everything after reads it instead of parsing text again."""
    log = pl.concat([part.good_rows() for part in parts]).with_row_index("order")
    log.filter(pl.col("weight") >= min_weight).sink_parquet(path)
    return pl.scan_parquet(path)


def _number_users(log: pl.LazyFrame) -> pl.LazyFrame:
    """Number users by their first row, and order the log by user, then time."""
    users = log.group_by("user_id").agg(pl.col("order").min()).sort("order")
    users = users.select("user_id", pl.int_range(pl.len(), dtype=pl.Int32).alias("user"))
    numbered = log.join(users, on="user_id").select("user", "item_id", "timestamp", "order")
    return numbered.sort("user", "timestamp", "order", nulls_last=True)


def _write_known(parted: pl.LazyFrame, catalog: pl.DataFrame, path: Path) -> None:
    """Write the interactions with items of the catalog; whoever has none is no user."""
    rows = catalog.lazy().select("item_id", pl.int_range(pl.len(), dtype=pl.Int32).alias("item"))
    known = parted.join(rows, on="item_id", maintain_order="left")
    user = pl.col("user").rle_id().cast(pl.Int32)  # closes the gaps; rows lie by user
    known.select(user, "item", "timestamp", "part").sink_parquet(path)


def _require_rows(log: pl.LazyFrame, path: Path, skipped: int) -> None:
    rows = log.select(pl.len()).collect(engine="streaming").item()
    if rows == 0:
        skipped_note = f" ({skipped} rows were skipped)" if skipped else ""
        raise InputError(f"{path}: no interactions{skipped_note}; a log needs at least two items")


def _number_items(parted: pl.LazyFrame, table: pl.DataFrame) -> pl.DataFrame:
    counts = (
        parted.filter(pl.col("part") == TRAIN)
        .group_by("item_id")
        .agg(pl.len().cast(pl.Int64).alias("interactions"))
        .sort("interactions", "item_id", descending=[True, False])
        .collect(engine="streaming")
    )
    if counts.height < MIN_ITEMS:
        raise InputError(
            f"the training part has {counts.height} item(s); "
            f"retrieval needs at least {MIN_ITEMS} different items"
        )
    return (
        counts.join(table, on="item_id", how="left", maintain_order="left")
        .with_columns(pl.col("category").fill_null(pl.lit([], dtype=pl.List(pl.String))))
        .select("item_id", "title", "category", "url", "interactions")
    )


def _summarise(folder: Path, source: Path, split: str, reason: str, skipped: int) -> dict[str, Any]:
    rows = pl.scan_parquet(folder / "interactions.parquet")
    totals = rows.select(
        pl.len().alias("interactions"),
        (pl.col("user").max() + 1).alias("users"),
        (pl.col("part") == TRAIN).sum().alias("train"),
        (pl.col("part") == VALID).sum().alias("valid"),
        (pl.col("part") > VALID).sum().alias("test"),
    ).collect(engine="streaming")
    catalog = pl.scan_parquet(folder / "items.parquet")
    summary: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "source": source.name,
        "split": split,
        "split_reason": reason,
        **totals.row(0, named=True),
        "items": catalog.select(pl.len()).collect().item(),
        "skipped_rows": skipped,
    }
    return summary
