"""From an encoder in training to the file that is served."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.arrays import Rows
from model.encoder import Stage, TrainableEncoder
from model.files import sync
from model.inference.lengths import with_lengths
from model.run import write_encoder
from model.training.popularity import popularity_lengths
from model.training.serving_choices import ServingChoices


def export_encoder(
    encoder: TrainableEncoder,
    path: Path,
    stage: Stage,
    choices: ServingChoices,
    interactions: Rows,
) -> None:
    """Write an encoder as ``model.inference`` reads it.

    Args:
        encoder: The encoder.
        path: Where to.
        stage: Which interests.
        choices: How it is served.
        interactions: Training interactions of each item. Shape (n_items,), int64.
    """
    tensors, settings = encoder.exported(stage)
    settings = {**settings, "max_len": choices.max_len}
    if choices.popularity:
        lengths = popularity_lengths(interactions, choices.popularity)
        tensors, settings = with_lengths(tensors, settings, lengths)
    write_encoder(path, tensors, settings)
    sync(path)


def read_choices(stage: Mapping[str, Any]) -> ServingChoices:
    """Return what was chosen for a stage, of its entry in ``run.json``."""
    # Runs of earlier versions say nothing of popularity, which did not count.
    return ServingChoices(stage["max_len"], stage.get("popularity", 0.0))
