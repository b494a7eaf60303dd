"""A run: the folder that training leaves behind, and all that ``index build`` needs.

    run.json             what was trained on what, and how good it is; written last
    encoder.safetensors  the chosen stage, as ``model.inference`` reads it
    items.parquet        item row → item_id, title, category, url, interactions
    histories.parquet    validation users' histories, real input for probes and tuning
    checkpoints/         what training needs to go on (``model.training.checkpoint``)
    tensorboard/         curves of the training (``model.training.training_log``)

A yardstick's run (``model.baselines``) holds neither encoder nor checkpoints: it is determined by
its data set and the hyper-parameters in ``run.json``, and made anew where it is needed.

Writer and reader are here together. NumPy and Polars only, so that the index may use it.
"""

import datetime
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save_file

from model.arrays import Rows
from model.errors import InputError
from model.files import locked, read_json_object, replace_file
from model.inference.loading import ENCODER_FILE

FORMAT_VERSION = 1
RUN_FILE = "run.json"
ITEMS_FILE = "items.parquet"
HISTORIES_FILE = "histories.parquet"
CHECKPOINTS = "checkpoints"
MAX_HISTORIES = 1000


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: Its folder.
        manifest: ``run.json``.
        items: ``items.parquet``; row order = item row.
        histories: Item rows, oldest first; one int64 array per user.
    """

    path: Path
    manifest: dict[str, Any]
    items: pl.DataFrame
    histories: list[Rows]

    @property
    def encoder_path(self) -> Path:
        """The encoder's file."""
        return self.path / ENCODER_FILE


def read_run(path: Path) -> Run:
    """Open a finished run.

    Raises:
        InputError: The folder holds no finished run, or one of another format version.
    """
    manifest = read_run_manifest(path)
    try:
        items = pl.read_parquet(path / ITEMS_FILE)
        histories = pl.read_parquet(path / HISTORIES_FILE)["history"]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: the run is damaged: {str(error).splitlines()[0]}") from error
    return Run(path, manifest, items, _as_rows(histories, path / HISTORIES_FILE))


def read_run_manifest(path: Path) -> dict[str, Any]:
    """Read ``run.json`` alone.

    Raises:
        InputError: See ``read_run``.
    """
    try:
        manifest = read_json_object(path / RUN_FILE)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no finished run ({RUN_FILE} is missing); train one with "
            "`python -m model train`"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path / RUN_FILE}: cannot be read: {error}") from error
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: run format {manifest.get('format_version')}, this program reads "
            f"{FORMAT_VERSION}; train again"
        )
    return manifest


def read_finished_run(path: Path, model: str, summary: dict[str, Any]) -> dict[str, Any]:
    """Read ``run.json`` of a finished run that is to be left as it is.

    Args:
        path: Its folder.
        model: The model that was asked for.
        summary: ``dataset.json`` of the data set that was asked for.

    Raises:
        InputError: See ``read_run``; or it is a run of another model, or on another data set.
    """
    manifest = read_run_manifest(path)
    if manifest.get("model") != model:
        raise InputError(
            f"{path}: holds a finished run of {manifest.get('model')}, not of {model}; "
            "choose another --out"
        )
    trained_on = manifest.get("dataset")
    if not isinstance(trained_on, dict) or {**trained_on, **summary} != trained_on:
        raise InputError(
            f"{path}: holds a run finished on another data set; choose another --out, or remove it"
        )
    return manifest


def require_free(path: Path, *, resume: bool) -> None:
    """Raise InputError where a training would write over something else.

    Args:
        path: The run's folder to be.
        resume: An unfinished training may be there.
    """
    if (path / RUN_FILE).exists():
        raise InputError(f"{path}: holds a finished run already; choose another --out")
    unfinished = (path / CHECKPOINTS).exists()
    if unfinished and not resume:
        raise InputError(
            f"{path}: holds an unfinished training; pass --resume to go on, or remove the folder"
        )
    if not unfinished and path.exists() and any(path.iterdir()):
        raise InputError(f"{path}: holds other files already; choose another --out")


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Make the folder of a run's checkpoints, and keep other trainings out while the context lasts.

    Raises:
        InputError: Another one is at work there.
    """
    folder = path / CHECKPOINTS
    folder.mkdir(parents=True, exist_ok=True)  # what a crash leaves is a training to resume
    with locked(folder) as mine:
        if not mine:
            raise InputError(
                f"{path}: another training is at work there; wait for its end, or choose another "
                "--out"
            )
        yield


def _as_rows(histories: pl.Series, path: Path) -> list[Rows]:
    kind = histories.dtype
    if not (isinstance(kind, pl.List) and pl.Series(dtype=kind.inner).dtype.is_integer()):
        raise InputError(f"{path}: column history is {kind}, expected lists of item rows")
    if histories.null_count() or histories.explode(empty_as_null=False).null_count():
        raise InputError(f"{path}: an item row is missing")
    return [np.array(rows, dtype=np.int64) for rows in histories.to_list()]


def describe_run(model: str, dataset_path: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Say what every run says: the model, when it was finished, and what it was trained on.

    Args:
        model: Its name.
        dataset_path: The folder that ``prepare`` wrote.
        summary: ``dataset.json``.
    """
    return {
        "model": model,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dataset": {"name": dataset_path.name, "path": str(dataset_path.resolve()), **summary},
    }


def write_run(
    path: Path,
    *,
    manifest: dict[str, Any],
    catalog: pl.DataFrame,
    histories: list[Rows],
) -> None:
    """Write what makes a folder a finished run; ``run.json`` comes last.

    Args:
        path: The folder.
        manifest: Without format version and git revision, which are added.
        catalog: The data set's items.
        histories: Validation users' histories; the first ``MAX_HISTORIES`` are kept.
    """
    catalog.write_parquet(path / ITEMS_FILE)
    kept = [rows.astype(np.int32).tolist() for rows in histories[:MAX_HISTORIES]]
    table = pl.DataFrame({"history": kept}, schema={"history": pl.List(pl.Int32)})
    table.write_parquet(path / HISTORIES_FILE)
    write_run_manifest(
        path, {"format_version": FORMAT_VERSION, "git_revision": git_revision(), **manifest}
    )


def write_run_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Replace ``run.json`` atomically."""
    replace_file(path / RUN_FILE, json.dumps(manifest, indent=2) + "\n")


def write_encoder(
    path: Path, tensors: dict[str, NDArray[np.float32]], config: dict[str, Any]
) -> None:
    """Write the encoder's file, which describes itself (see ``model.inference.loading``).

    Args:
        path: The file.
        tensors: Of OPAL ``item_embedding``, ``hyper_category``; for the hard stage and the general
            interest ``gru.weight_ih``, ``gru.weight_hh``; for the one ``head.weight``,
            ``head.bias``, for the other ``general.weight``, ``general.bias`` and, where it
            attends, those of ``model.inference.transformer``.
        config: Of OPAL ``stage``, ``temperature``, ``max_len``; where they are not the paper's (0,
            0, ½), ``recency``, ``sharing`` and ``evolution`` too; where there is a general
            interest, ``general``, ``general_len`` (null or left out: ``max_len``), and
            as ``model`` "opal-general" or "opal-attention". ``model.inference.lengths`` may
            change both.
    """
    # safetensors writes memory as it lies: a transposed array would come back as another one.
    as_rows = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(as_rows, path, metadata={"encoder": json.dumps(config)})


def git_revision() -> str | None:
    """Return the commit of this program's checkout, None where there is none."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
