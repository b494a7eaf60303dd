"""Whether a run can become a bundle: its parts belong together and can be served."""

import math
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
import polars as pl

from index.bundles.catalog import ITEM_COLUMNS
from model.data.items import ITEM_SCHEMA
from model.errors import InputError
from model.inference.encoder import UserEncoder
from model.run import HISTORIES_FILE, ITEMS_FILE, RUN_FILE, Run

FIELDS = {"model": str, "stage": str, "hyper_parameters": dict, "metrics": dict, "dataset": dict}
NAMES: dict[Any, str] = {str: "text", dict: "an object", list: "a list"}
COLUMN_TYPES = {**ITEM_SCHEMA, "interactions": pl.Int64()}
LARGEST = 1e6
"""Of a number in an item vector; trained ones are of unit length or shorter, or not far from it."""


def check_run(run: Run, encoder: UserEncoder) -> None:
    """Check a run before anything is built from it.

    Raises:
        InputError: Names the file and what is wrong with it.
    """
    _check_manifest(run)
    _check_vectors(run, encoder)
    _check_items(run)
    n_items = len(run.items)
    for history in run.histories:
        if len(history) and not 0 <= history.min() <= history.max() < n_items:
            raise InputError(f"{run.path / HISTORIES_FILE}: an item row is outside 0…{n_items - 1}")


def _check_manifest(run: Run) -> None:
    path = run.path / RUN_FILE
    for name, kind in FIELDS.items():
        if name not in run.manifest:
            raise InputError(f"{path}: field {name} is missing; train again")
        _require_kind(path, name, run.manifest[name], kind)
    _require_kind(path, "git_revision", run.manifest.get("git_revision"), str | None)
    _check_curve(path, run.manifest.get("curve", []))
    _check_metrics(path, "metrics", run.manifest["metrics"])
    yardsticks = run.manifest.get("yardsticks", {})
    _require_kind(path, "yardsticks", yardsticks, dict)
    for name, metrics in yardsticks.items():
        _check_metrics(path, f"yardsticks.{name}", metrics)
    _require_kind(path, "yardsticks_left_out", run.manifest.get("yardsticks_left_out", {}), dict)


def _check_metrics(path: Path, field: str, parts: Any) -> None:
    _require_kind(path, field, parts, dict)
    for part, metrics in parts.items():
        _require_kind(path, f"{field}.{part}", metrics, dict)
        for name, value in metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{path}: {field}.{part}.{name} is {value!r}, expected a number")


def _check_curve(path: Path, curve: Any) -> None:
    _require_kind(path, "curve", curve, list)
    for place, point in enumerate(curve):
        _require_kind(path, f"curve.{place}", point, dict)


def _require_kind(path: Path, field: str, value: Any, kind: type | UnionType) -> None:
    if not isinstance(value, kind):
        name = NAMES.get(kind, "text or null")
        raise InputError(f"{path}: {field} is {value!r}, expected {name}; train again")


def _check_vectors(run: Run, encoder: UserEncoder) -> None:
    vectors = encoder.item_vectors
    if vectors.shape != (len(run.items), encoder.dim):
        raise InputError(
            f"{run.encoder_path}: item vectors have shape {vectors.shape}, expected "
            f"{(len(run.items), encoder.dim)} ({ITEMS_FILE}, its other tensors); train again"
        )
    if len(vectors) == 0:
        raise InputError(f"{run.path}: the catalog is empty; train on a log with items")
    not_finite = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(not_finite):
        raise InputError(
            f"{run.encoder_path}: {len(not_finite)} item vectors are NaN or infinite (first: item "
            f"row {not_finite[0]}); the training has diverged, train again"
        )

    # Inner products of what is longer leave the range of float32.
    longest = float(np.abs(vectors).max())
    if longest > LARGEST:
        raise InputError(
            f"{run.encoder_path}: an item vector holds {longest:.3g}, expected at most "
            f"{LARGEST:.0e}; the training has diverged, train again"
        )


def _check_items(run: Run) -> None:
    path = run.path / ITEMS_FILE
    for name in ITEM_COLUMNS:
        if name not in run.items.columns:
            raise InputError(f"{path}: column {name} is missing; train again")
        kind = run.items.schema[name]
        if kind != COLUMN_TYPES[name]:
            raise InputError(
                f"{path}: column {name} is {kind}, expected {COLUMN_TYPES[name]}; train again"
            )
    ids = run.items["item_id"]
    if ids.null_count():
        raise InputError(f"{path}: an item_id is missing")
    if ids.n_unique() < len(ids):
        repeated = ids.filter(ids.is_duplicated())[0]
        raise InputError(f"{path}: item_id {repeated!r} occurs twice")
