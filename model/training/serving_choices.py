"""What validation chooses of a trained stage: how long histories are, how much popularity counts.

Neither changes a weight, and one training serves them all.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Rows
from model.config.training_config import TrainingConfig
from model.data.dataset import Sequences
from model.encoder import Stage, TrainableEncoder
from model.evaluation import Metrics, averaged
from model.training.popularity import EXPONENTS, popularity_lengths
from model.training.recipe import LENGTHS
from model.training.validation import SELECT_BY, evaluate_by_lengths, evaluate_encoder, merit

logger = logging.getLogger(__name__)

_NONE = EXPONENTS[0]
_ERRORS = 2.0
"""Standard errors that a gain has to be larger than: the best of nine would often be chance."""


class ServingChoices(NamedTuple):
    """How a stage is served.

    Attributes:
        max_len: L, interactions of a history that count.
        popularity: β; see ``model.training.popularity``.
    """

    max_len: int
    popularity: float


class Chooser:
    """Chooses by the merit on validation users.

    Args:
        config: What it says is not searched.
        validation: The users. All of them choose β, which few could not tell apart.
        some: Those of them who choose L.
        interactions: Training interactions of each item. Shape (n_items,), int64.
    """

    def __init__(
        self, config: TrainingConfig, validation: Sequences, some: Sequences, interactions: Rows
    ) -> None:
        self._config = config
        self._validation = validation
        self._some = some
        self._interactions = interactions

    def choose(self, encoder: TrainableEncoder, stage: Stage) -> tuple[ServingChoices, Metrics]:
        """Choose for a stage's weights: L first, then β with that L.

        Args:
            encoder: Holds them.
            stage: The stage.

        Returns:
            What was chosen, and what all validation users make of it.
        """
        max_len = self._config.max_len
        if max_len is None:
            max_len = self._choose_length(encoder, stage)
        popularity = self._config.popularity
        if not self._config.unit_vectors:
            popularity = _NONE  # the length of such a vector is learned already
        if popularity is None:
            popularity, metrics = self._choose_popularity(encoder, stage, max_len)
            return ServingChoices(max_len, popularity), metrics
        choices = ServingChoices(max_len, popularity)
        return choices, self.evaluate(encoder, self._validation, stage, choices)

    def evaluate(
        self,
        encoder: TrainableEncoder,
        sequences: Sequences,
        stage: Stage,
        choices: ServingChoices,
    ) -> Metrics:
        """Evaluate a stage as it would be served."""
        lengths = self._lengths(choices.popularity)
        return evaluate_encoder(encoder, sequences, stage, choices.max_len, lengths)

    def _choose_length(self, encoder: TrainableEncoder, stage: Stage) -> int:
        """Return the L that validates best; of equal ones the shortest, which costs the least."""
        found = {length: evaluate_encoder(encoder, self._some, stage, length) for length in LENGTHS}
        _tell(stage, "length of history", found)
        return max(LENGTHS, key=lambda length: merit(found[length]))

    def _choose_popularity(
        self, encoder: TrainableEncoder, stage: Stage, max_len: int
    ) -> tuple[float, Metrics]:
        """Return the β that validates best and is told apart from 0, else 0; and its metrics."""
        lengths = [popularity_lengths(self._interactions, exponent) for exponent in EXPONENTS]
        measured = evaluate_by_lengths(encoder, self._validation, stage, max_len, lengths)
        found, recalls = {}, {}
        for exponent, users in zip(EXPONENTS, measured, strict=True):
            found[exponent] = averaged(users)
            recalls[exponent] = users[SELECT_BY]
        _tell(stage, "exponent of popularity", found)
        told_apart = [each for each in EXPONENTS if is_better(recalls[each], recalls[_NONE])]
        best = max(told_apart, key=lambda each: merit(found[each]), default=_NONE)
        return best, found[best]

    def _lengths(self, exponent: float) -> Floats | None:
        return popularity_lengths(self._interactions, exponent) if exponent else None


def is_better(users: NDArray[np.float64], before: NDArray[np.float64]) -> bool:
    """Whether the gain, averaged over users, is more than twice its standard error were it chance.

    Args:
        users: A metric of each user. Shape (n_users,), float64.
        before: What it is to be better than, of the same users.
    """
    gain = users - before
    return bool(gain.mean() > _ERRORS * np.sqrt(np.square(gain).mean() / len(gain)))


def _tell(stage: Stage, what: str, found: Mapping[Any, Metrics]) -> None:
    values = ", ".join(f"{each}: {metrics[SELECT_BY]:.4f}" for each, metrics in found.items())
    logger.info("%s stage, valid %s by %s: %s", stage, SELECT_BY, what, values)
