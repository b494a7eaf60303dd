"""What a configuration makes of a data set: encoder, batches, optimisers, intervals."""

import numpy as np
import torch

from model.arrays import Rows
from model.config.training_config import TrainingConfig
from model.data.cooccurrence import pmi_vectors
from model.data.dataset import Dataset
from model.data.histories import BatchSampler
from model.data.negatives import (
    FULL_SOFTMAX_ITEMS,
    SAMPLED_NEGATIVES,
    EvenNegatives,
    NegativeSampler,
    PopularNegatives,
    WholeCatalog,
)
from model.data.neighbours import nearest_neighbours
from model.encoder import Stage, TrainableEncoder
from model.errors import InputError
from model.models import encoder_class

LENGTHS = (10, 20, 30, 50, 100)
"""Lengths of history tried where L is to be found; trained with the last."""

DENSE_ITEMS = 50_000
"""Above, a step must not touch the whole item table: sparse gradients, row-wise optimiser."""

_FEWEST_STEPS, _MOST_STEPS = 50, 1000  # between validations, where an epoch is shorter or longer


def new_encoder(dataset: Dataset, config: TrainingConfig, end: Rows) -> TrainableEncoder:
    """Make the encoder that training starts from.

    Args:
        dataset: The data.
        config: How to train.
        end: End of what may be known of each user, as an index into ``dataset.items``.
            Shape (n_users,), int64.
    """
    torch.manual_seed(config.seed)
    begin = dataset.offsets[:-1]
    config = config.fitted_to(dataset.n_users)
    k = config.k
    assert k is not None  # that is what fitting is for
    encoder = encoder_class(config.model).from_config(
        config,
        n_items=dataset.n_items,
        n_interests=k,
        max_len=training_length(config),
        sparse_gradients=dataset.n_items > DENSE_ITEMS,
    )
    if config.neighbours:
        near = nearest_neighbours(dataset.items, begin, end, n_items=dataset.n_items)
        encoder.lean_on(near, config.neighbours)
    if config.start == "pmi":
        random = np.random.default_rng(config.seed)
        vectors = pmi_vectors(
            dataset.items, begin, end, n_items=dataset.n_items, dim=config.dim, random=random
        )
        encoder.start_from(vectors, random)
    return encoder


def new_sampler(
    dataset: Dataset, config: TrainingConfig, end: Rows, *, processes: int = 1
) -> BatchSampler:
    """Make what draws the batches.

    Args:
        dataset: The data.
        config: How to train.
        end: See ``new_encoder``.
        processes: How many draw a part of each batch.

    Raises:
        InputError: No user has two interactions to train on; or the batch cannot be shared out.
    """
    if config.batch_size % processes:
        raise InputError(
            f"--batch-size is {config.batch_size}; expected a multiple of the {processes} processes"
        )
    cut_draws = config.fitted_to(dataset.n_users).cut_draws
    assert cut_draws is not None  # that is what fitting is for
    return BatchSampler(
        items=dataset.items,
        begin=dataset.offsets[:-1],
        end=end,
        n_items=dataset.n_items,
        max_len=training_length(config),
        batch_size=config.batch_size // processes,
        negatives=_new_negatives(dataset, config),
        min_cut=config.min_cut,
        cut_draws=cut_draws,
        horizon=_horizon(config),
        history_dropout=config.history_dropout,
    )


def new_optimizers(
    encoder: TrainableEncoder, config: TrainingConfig, stage: Stage
) -> list[torch.optim.Optimizer]:
    """Make the optimisers of a stage, which together move all that is learned.

    A stage after the first fine-tunes, by smaller steps: what it begins from is the best already.

    Adam for all; of an item table with sparse gradients Adam's row-wise kin, which moves the
    moments of the rows in use alone, and knows no weight decay.
    """
    step_size = config.learning_rate
    if stage != encoder.stages[0]:
        step_size *= config.fine_tuning_rate
    learned = [value for value in encoder.parameters() if value.requires_grad]
    optimizers: list[torch.optim.Optimizer] = []
    if encoder.sparse_gradients:
        learned = [value for value in learned if value is not encoder.item_table]
        optimizers.append(torch.optim.SparseAdam([encoder.item_table], lr=step_size))
    adam = torch.optim.Adam(learned, lr=step_size, weight_decay=config.weight_decay, fused=True)
    return [*optimizers, adam]


def training_length(config: TrainingConfig) -> int:
    """Return how many interactions of a history count in training."""
    return config.max_len or LENGTHS[-1]


def steps_between_validations(config: TrainingConfig, n_users: int) -> int:
    """Return the interval: as given, or an epoch within limits."""
    if config.eval_every is not None:
        return config.eval_every
    return min(max(n_users // config.batch_size, _FEWEST_STEPS), _MOST_STEPS)


def _horizon(config: TrainingConfig) -> float | None:
    """Return how far positives reach, for ``BatchSampler``."""
    if config.positives == "one":
        return None
    return config.horizon if config.positives == "horizon" else 0.0


def _new_negatives(dataset: Dataset, config: TrainingConfig) -> NegativeSampler:
    n_items = dataset.n_items
    if config.negatives == "even":
        return EvenNegatives(n_items, config.n_negatives or config.batch_size)
    if config.n_negatives is None and n_items <= FULL_SOFTMAX_ITEMS:
        return WholeCatalog(n_items)
    interactions = dataset.catalog["interactions"].to_numpy()
    return PopularNegatives(interactions, config.n_negatives or SAMPLED_NEGATIVES)
