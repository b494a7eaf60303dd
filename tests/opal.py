"""OPAL's encoder where a test needs more of it than what all models have."""

from pathlib import Path
from typing import Any

import numpy as np

from model.arrays import Rows
from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.encoder import Stage, TrainableEncoder
from model.inference.opal import OpalInferenceEncoder
from model.opal import OpalEncoder
from model.training.recipe import new_encoder
from tests.bundles import clustered_vectors, load_opal, write_random_encoder

N_ITEMS = 50
MAX_LEN = 30

PAPER_HARD: dict[str, Any] = {"stage": "hard", "temperature": 0.1, "max_len": MAX_LEN}
"""What a file says of a hard encoder that has nothing besides the paper's."""


def as_opal(encoder: TrainableEncoder) -> OpalEncoder:
    """Say that an encoder is OPAL's."""
    assert isinstance(encoder, OpalEncoder)
    return encoder


def new_opal(dataset: Dataset, config: TrainingConfig, end: Rows) -> OpalEncoder:
    """Make the encoder that training starts from (see ``model.training.recipe.new_encoder``)."""
    return as_opal(new_encoder(dataset, config, end))


def random_encoder(
    folder: Path, stage: Stage, terms: dict[str, float], *, k: int = 4, dim: int = 8
) -> OpalInferenceEncoder:
    """Write an encoder of ``N_ITEMS`` items with random weights, and load it.

    Args:
        folder: Where ``encoder.safetensors`` is written.
        stage: Of what stage.
        terms: What it has besides the paper's (see ``tests.bundles.write_random_encoder``).
        k: How many interests.
        dim: d.
    """
    random = np.random.default_rng(0)
    vectors, hyper_categories, _ = clustered_vectors(N_ITEMS, dim, k, random)
    write_random_encoder(
        folder, vectors, hyper_categories, stage=stage, max_len=MAX_LEN, rng=random, **terms
    )
    return load_opal(folder / "encoder.safetensors")
