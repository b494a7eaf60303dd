"""OPAL's encoder where a test needs more of it than what all models have."""

from model.arrays import Rows
from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.encoder import TrainableEncoder
from model.opal import OpalEncoder
from model.training.recipe import new_encoder


def as_opal(encoder: TrainableEncoder) -> OpalEncoder:
    """Say that an encoder is OPAL's."""
    assert isinstance(encoder, OpalEncoder)
    return encoder


def new_opal(dataset: Dataset, config: TrainingConfig, end: Rows) -> OpalEncoder:
    """Make the encoder that training starts from (see ``model.training.recipe.new_encoder``)."""
    return as_opal(new_encoder(dataset, config, end))
