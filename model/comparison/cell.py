"""A cell of the comparison: one training, its folder, and how far it is.

cell.json      what it is: data set, model, recipe, variant, seed, options; written first
run/           the run, as ``train`` writes it
time.json      seconds that its training took so far
log.txt        what its process said
failed.json    why it failed, where it did
users.npz      metrics of each user of the test part
measures.json  all averages; written last
"""

import json
import logging
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.arrays import Floats
from model.comparison.array_files import read_arrays
from model.comparison.variants import Variant
from model.config.loss_weights import LossWeights
from model.config.training_config import Recipe, TrainingConfig
from model.errors import InputError
from model.files import read_json_object, replace_file
from model.model_names import SINGLE_VECTOR_RIVALS

FORMAT_VERSION = 1
"""Of ``cell.json``."""
MEASURES_VERSION = 5
"""Of ``measures.json``; what an earlier program measured otherwise is measured anew.

1: copies of interests counted as pairs, and nothing said which program it was.
2: no lists chosen for variety.
3: these for a diversity of 0.4 at most.
4: these, and interests, of 2,000 users at most.
"""
CELL_FILE = "cell.json"
RUN_FOLDER = "run"
TIME_FILE = "time.json"
LOG_FILE = "log.txt"
FAILED_FILE = "failed.json"
USERS_FILE = "users.npz"
MEASURES_FILE = "measures.json"

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
"""What reading a damaged file of a cell raises."""

logger = logging.getLogger(__name__)


def make_config(
    model: str, recipe: Recipe, given: dict[str, Any], summary: Mapping[str, Any]
) -> TrainingConfig:
    """Return the options of a training; the only place that makes them.

    Args:
        model: Its name.
        recipe: Whose values the other options have.
        given: Options that were asked for.
        summary: What ``dataset.json`` holds.

    Raises:
        InputError: A value is out of its range.
    """
    if model in SINGLE_VECTOR_RIVALS:  # k is asked of all models, and these have none
        given = {name: value for name, value in given.items() if name != "k"}
    return TrainingConfig.for_recipe(recipe, given, model=model).fitted_to_dataset(summary)


@dataclass(frozen=True)
class Cell:
    """One training, or one yardstick.

    Attributes:
        folder: Where it is kept.
        dataset: The folder that ``prepare`` wrote.
        summary: Its ``dataset.json``.
        model: Its name.
        recipe: Its recipe; None: a yardstick, which has none.
        variant: Its variant.
        seed: Its seed.
        config: Its options; None: a yardstick.
    """

    folder: Path
    dataset: Path
    summary: dict[str, Any]
    model: str
    recipe: Recipe | None
    variant: Variant
    seed: int
    config: TrainingConfig | None

    @property
    def label(self) -> str:
        """What it is, in words."""
        if self.recipe is None:
            return self.model_label
        return f"{self.model_label} {self.variant.name} seed {self.seed}"

    @property
    def model_label(self) -> str:
        """Data set, model and recipe."""
        return " ".join(filter(None, (self.dataset.name, self.model, self.recipe)))

    @property
    def is_finished(self) -> bool:
        """Whether it needs not be run: its measures are there, and can be read."""
        return (self.folder / MEASURES_FILE).exists() and not self.damage()

    def damage(self) -> str:
        """Say what of a finished or failed cell cannot be read; empty where all can."""
        if (self.folder / MEASURES_FILE).exists():
            try:
                measures = self.measures()
                if measures.get("format_version") != MEASURES_VERSION:
                    return f"{MEASURES_FILE} is of another version of this program"
                n_users = measures["test"]["users"]
                if any(values.shape != (n_users,) for values in self.users().values()):
                    return f"{USERS_FILE} is of other users than {MEASURES_FILE}"
            except _UNREADABLE as error:
                return f"{type(error).__name__}: {error}"
        try:
            self._read_failure()
        except _UNREADABLE as error:
            return f"{FAILED_FILE}: {type(error).__name__}: {error}"
        return ""

    def describe(self) -> dict[str, Any]:
        """Return what ``cell.json`` holds."""
        return {
            "format_version": FORMAT_VERSION,
            "dataset": {"path": str(self.dataset.resolve()), "summary": self.summary},
            "model": self.model,
            "recipe": self.recipe,
            "variant": self.variant.name,
            "seed": self.seed,
            "config": None if self.config is None else self.config.to_dict(),
        }

    def require_same(self) -> None:
        """Raise InputError if the folder holds a cell of other data or options."""
        before = self.read_description()
        if before is None:
            return
        if problem := self._difference(before):
            raise InputError(
                f"{self.folder}: holds a cell {problem}; choose another --out, remove the folder, "
                "or ask for the same"
            )

    def _difference(self, before: dict[str, Any]) -> str:
        if before.get("format_version") != FORMAT_VERSION:
            return f"of format {before.get('format_version')}, this program reads {FORMAT_VERSION}"
        if before.get("dataset", {}).get("summary") != self.summary:
            return f"of another data set than {self.dataset}"
        options = before.get("config")
        if self.config is None:
            return "" if options is None else "of a training"
        words = self.config.differences(options if isinstance(options, dict) else {})
        return f"with other options ({words})" if words else ""

    def read_description(self) -> dict[str, Any] | None:
        """Read ``cell.json``; None where there is none.

        Raises:
            InputError: It is damaged.
        """
        path = self.folder / CELL_FILE
        try:
            return read_json_object(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {error}; remove the folder") from error

    def begin(self) -> None:
        """Make the folder and write ``cell.json``; the paths in it are those of now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / FAILED_FILE).unlink(missing_ok=True)
        replace_file(self.folder / CELL_FILE, json.dumps(self.describe(), indent=2) + "\n")

    def fail(self, error: str) -> None:
        """Write down why it failed."""
        replace_file(self.folder / FAILED_FILE, json.dumps({"error": error}) + "\n")

    def failure(self) -> str | None:
        """Return why it failed last time; None where it did not, or nobody can tell."""
        try:
            return self._read_failure()
        except _UNREADABLE:
            return None

    def _read_failure(self) -> str | None:
        path = self.folder / FAILED_FILE
        return str(read_json_object(path)["error"]) if path.exists() else None

    def measures(self) -> dict[str, Any]:
        """Read ``measures.json`` of a finished cell."""
        return read_json_object(self.folder / MEASURES_FILE)

    def users(self) -> dict[str, Floats]:
        """Read the metrics of each user, by name. Each of shape (n_users,), float32."""
        return read_arrays(self.folder / USERS_FILE)


def restore_cell(folder: Path, description: dict[str, Any]) -> Cell:
    """Return the cell that ``Cell.describe`` described.

    Args:
        folder: Where it is.
        description: What ``cell.json`` holds.
    """
    options = description["config"]
    return Cell(
        folder=folder,
        dataset=Path(description["dataset"]["path"]),
        summary=description["dataset"]["summary"],
        model=description["model"],
        recipe=description["recipe"],
        variant=Variant(description["variant"], description["variant"]),
        seed=description["seed"],
        config=None if options is None else _restore_config(options),
    )


def _restore_config(options: dict[str, Any]) -> TrainingConfig:
    if (weights := options.get("loss_weights")) is not None:
        options = {**options, "loss_weights": LossWeights(**weights)}
    return TrainingConfig(**options)


def read_seconds(folder: Path) -> dict[str, float]:
    """Return the seconds, ``wall`` and ``cpu``, that a cell's training took so far.

    NaN where the file is damaged: then nobody knows.
    """
    path = folder / TIME_FILE
    if not path.exists():
        return {"wall": 0.0, "cpu": 0.0}
    try:
        seconds = read_json_object(path)
        return {name: float(seconds[name]) for name in ("wall", "cpu")}
    except _UNREADABLE as error:
        logger.warning("%s: cannot be read, the time so far is lost: %s", path, error)
        return {"wall": math.nan, "cpu": math.nan}
