"""OPAL's encoder where a test needs more of it than what all models have."""

from model.arrays import Rows
from model.config import TrainingConfig
from model.dataset import Dataset
from model.encoder import TrainableEncoder
from model.opal import OpalEncoder
from model.recipe import new_encoder


def as_opal(encoder: TrainableEncoder) -> OpalEncoder:
    """Say that an encoder is OPAL's."""
    assert isinstance(encoder, OpalEncoder)
    return encoder


def new_opal(dataset: Dataset, config: TrainingConfig, end: Rows) -> OpalEncoder:
    """Make the encoder that training starts from (see ``model.recipe.new_encoder``)."""
    return as_opal(new_encoder(dataset, config, end))
