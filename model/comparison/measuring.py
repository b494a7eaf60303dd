"""What a finished run is measured by, on the test part, with the encoder that would be served."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.arrays import Floats
from model.baselines.measuring import score_by_baseline
from model.baselines.yardstick_run import remake_baseline
from model.comparison.array_files import write_arrays
from model.comparison.cell import (
    MEASURES_FILE,
    MEASURES_VERSION,
    RUN_FOLDER,
    USERS_FILE,
    Cell,
    read_seconds,
)
from model.comparison.diversity import CUTOFFS, measure_lists
from model.comparison.interests import measure_interests
from model.comparison.reference import Reference
from model.comparison.variants import MAIN
from model.comparison.varied_lists import SOME_USERS, measure_varied_lists
from model.data.dataset import Dataset
from model.encoder import Stage
from model.evaluation import Score, UserMetrics, evaluate_users, score_by_encoder
from model.files import replace_file
from model.inference.encoder import UserEncoder
from model.inference.loading import ENCODER_FILE, load_encoder
from model.run import CHECKPOINTS, Run, git_revision, read_run
from model.tensor_files import map_tensors
from model.training.checkpoint import load_checkpoint
from model.training.export import export_encoder, read_choices
from model.training.recipe import new_encoder


@dataclass(frozen=True)
class _Measurer:
    """What all models of a data set are measured by.

    Attributes:
        dataset: The data.
        reference: Of its catalog.
    """

    dataset: Dataset
    reference: Reference

    def measure(self, score: Score) -> tuple[UserMetrics, dict[str, float]]:
        """Return each user's metrics, and all averages of metrics and lists."""
        test = self.dataset.test
        found = evaluate_users(
            score, self.dataset.n_items, test.histories, test.targets, kept=max(CUTOFFS)
        )
        of_lists = measure_lists(found.best, self.reference) if test.histories else {}
        return found, {**found.average(), **of_lists}

    def vary(self, score: Score, item_vectors: Floats | None) -> list[dict[str, float]]:
        """Return what is measured of lists that are chosen for variety."""
        users = self.dataset.test.sample(SOME_USERS)
        return measure_varied_lists(score, item_vectors, users, self.reference)

    def look_into(self, encoder: UserEncoder) -> dict[str, Any]:
        """Return what is measured of an encoder besides its lists."""
        users = self.dataset.test.sample(SOME_USERS)
        found = measure_interests(encoder, users.histories)
        return {
            "k": encoder.n_interests,
            "max_len": encoder.max_len,
            "interests": None
            if found is None
            else {
                "distinct": found.distinct,
                "cosine": found.cosine,
                "overlap": found.overlap,
                "shares": found.shares.tolist(),
            },
        }


def measure_cell(cell: Cell, dataset: Dataset, reference: Reference) -> None:
    """Measure the run of a cell; write ``users.npz``, then ``measures.json``.

    Args:
        cell: Its run is finished.
        dataset: Its data.
        reference: Of their catalog.
    """
    run = read_run(cell.folder / RUN_FOLDER)
    measurer = _Measurer(dataset, reference)
    measures: dict[str, Any] = {
        "format_version": MEASURES_VERSION,
        "model": cell.model,
        "valid": run.manifest["metrics"]["valid"],
        "seconds": read_seconds(cell.folder),
        "revisions": {"trained": run.manifest.get("git_revision"), "measured": git_revision()},
        "device": run.manifest.get("trained_on", {}).get("device"),
    }
    if cell.config is None:
        baseline = remake_baseline(run, dataset)
        score = score_by_baseline(baseline)
        found, test = measurer.measure(score)
        measures |= {
            "hyper_parameters": baseline.hyper_parameters,
            "test": test,
            "varied": measurer.vary(score, None),
        }
    else:
        encoder = load_encoder(run.encoder_path)
        score = score_by_encoder(encoder)
        found, test = measurer.measure(score)
        chosen = {"test": test, **measurer.look_into(encoder)}
        measures |= {
            "stage": run.manifest["stage"],
            "popularity": read_choices(run.manifest["stages"][run.manifest["stage"]]).popularity,
            **chosen,
            "varied": measurer.vary(score, encoder.item_vectors),
            "parameters": _count_parameters(run),
            "curve": run.manifest["curve"],
            "stages": dict(_measure_stages(cell, run, measurer, chosen)),
        }
    users = {
        name: values.astype(np.float32)
        for name, values in found.values.items()
        if int(name.partition("@")[2]) in CUTOFFS
    }
    write_arrays(cell.folder / USERS_FILE, users)
    text = json.dumps(_without_nan(measures), indent=2, allow_nan=False)
    replace_file(cell.folder / MEASURES_FILE, text + "\n")


def _measure_stages(
    cell: Cell, run: Run, measurer: _Measurer, chosen: dict[str, Any]
) -> Iterator[tuple[Stage, dict[str, Any]]]:
    """Measure each stage of a model that has several: "OPAL (soft)" is a result of its own.

    Args:
        cell: The cell.
        run: Its run.
        measurer: What measures.
        chosen: What was measured of the stage that the run has chosen.
    """
    stages = run.manifest["stages"]
    if len(stages) == 1 or cell.variant.name != MAIN.name:
        return
    for stage in stages:
        if stage == run.manifest["stage"]:
            yield stage, chosen
            continue
        path = cell.folder / f"{stage}.safetensors"
        _export_stage(cell, run, measurer.dataset, stage, path)
        encoder = load_encoder(path)
        _, test = measurer.measure(score_by_encoder(encoder))
        yield stage, {"test": test, **measurer.look_into(encoder)}
        path.unlink()


def _export_stage(cell: Cell, run: Run, dataset: Dataset, stage: Stage, path: Path) -> None:
    """Write the encoder of a stage's best weights, of a training that may have chosen another."""
    assert cell.config is not None  # only trainings have stages
    weights, _ = load_checkpoint(run.path / CHECKPOINTS, stage)
    encoder = new_encoder(dataset, replace(cell.config, start="random"), dataset.train_end)
    encoder.load_state_dict(weights)
    interactions = dataset.catalog["interactions"].to_numpy()
    export_encoder(encoder, path, stage, read_choices(run.manifest["stages"][stage]), interactions)


def _count_parameters(run: Run) -> int:
    """Return how many numbers the served encoder holds, item vectors included."""
    tensors, _ = map_tensors(run.path / ENCODER_FILE)
    return sum(tensor.size for tensor in tensors.values())


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
