"""Whether a run can become a bundle: its parts belong together and can be served."""

import math

import numpy as np

from index.catalog import ITEM_COLUMNS
from model.errors import InputError
from model.inference import OpalInferenceEncoder
from model.run import RUN_FILE, Run

ITEMS = "items.parquet"
HISTORIES = "histories.parquet"
FIELDS = ("model", "stage", "hyper_parameters", "metrics", "dataset")


def check_run(run: Run, encoder: OpalInferenceEncoder) -> None:
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
            raise InputError(f"{run.path / HISTORIES}: an item row is outside 0…{n_items - 1}")


def _check_manifest(run: Run) -> None:
    path = run.path / RUN_FILE
    for name in FIELDS:
        if name not in run.manifest:
            raise InputError(f"{path}: field {name} is missing; train again")
    for part, metrics in run.manifest["metrics"].items():
        for name, value in metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{path}: metrics.{part}.{name} is {value!r}, expected a number")


def _check_vectors(run: Run, encoder: OpalInferenceEncoder) -> None:
    vectors = encoder.item_vectors
    if vectors.shape != (len(run.items), encoder.dim):
        raise InputError(
            f"{run.encoder_path}: item vectors have shape {vectors.shape}, expected "
            f"{(len(run.items), encoder.dim)} ({ITEMS}, hyper-categories); train again"
        )
    if len(vectors) == 0:
        raise InputError(f"{run.path}: the catalog is empty; train on a log with items")
    not_finite = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(not_finite):
        raise InputError(
            f"{run.encoder_path}: {len(not_finite)} item vectors are NaN or infinite (first: item "
            f"row {not_finite[0]}); the training has diverged, train again"
        )


def _check_items(run: Run) -> None:
    path = run.path / ITEMS
    for name in ITEM_COLUMNS:
        if name not in run.items.columns:
            raise InputError(f"{path}: column {name} is missing; train again")
    ids = run.items["item_id"]
    if ids.null_count():
        raise InputError(f"{path}: an item_id is missing")
    if ids.n_unique() < len(ids):
        repeated = ids.filter(ids.is_duplicated())[0]
        raise InputError(f"{path}: item_id {repeated!r} occurs twice")
