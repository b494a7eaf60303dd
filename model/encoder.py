"""What training needs of a model that makes k user vectors of a history, whatever the model.

Every one of them has a table of items and scores an item by the user vector that fits it best,
score(u, v) = max_j (z_j · e_v) / τ: what retrieval does but for a factor of each item
(``model.training.popularity``), so that any of them can be served.

Rows are those of the catalog, from 0; a padded position of a history holds ``PADDING`` (−1), which
no table has, so that padding which escapes its mask fails instead of counting as an item.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.arrays import Floats
from model.config.training_config import TrainingConfig
from model.data.histories import TrainingBatch
from model.data.neighbours import Neighbours

Stage = str
"""Name of a part of the training with losses and optimisers of its own."""

_LEAST_SQUARE = 1e-24  # what is shorter than 1e-12 has no direction (model.inference says so too)


class Exported(NamedTuple):
    """An encoder as ``encoder.safetensors`` holds it.

    Attributes:
        tensors: By name; ``item_embedding`` is among them. float32.
        settings: What else determines it, as JSON types.
    """

    tensors: dict[str, Floats]
    settings: dict[str, Any]


class TrainableEncoder(nn.Module, ABC):
    """Histories to k interests, over a table of item vectors.

    Args:
        n_items: Items in the catalog.
        dim: d, length of an item vector.
        temperature: τ of scores.
        learn_temperature: Learn τ of scores.
        unit_vectors: Items and interests are of unit length; else they are as the tables hold them.
        sparse_gradients: The item table gets gradients of the rows in use alone.

    Attributes:
        stages: In the order in which they are trained.
        draws_at_random: Whether ``losses`` draws numbers from torch's generator, as dropout does.
        item_table: Shape (n_items, d), float32.
    """

    stages: ClassVar[tuple[Stage, ...]]
    draws_at_random: bool = False

    def __init__(
        self,
        *,
        n_items: int,
        dim: int,
        temperature: float,
        learn_temperature: bool,
        unit_vectors: bool,
        sparse_gradients: bool,
    ) -> None:
        super().__init__()
        self.unit_vectors = unit_vectors
        self.sparse_gradients = sparse_gradients
        self.item_table = nn.Parameter(torch.randn(n_items, dim) / dim**0.5)
        self.log_score_temperature = scalar(math.log(temperature), learned=learn_temperature)
        # They follow from the data: a checkpoint need not hold them.
        self.register_buffer("_neighbours", None, persistent=False)
        self.register_buffer("_neighbour_weights", None, persistent=False)

    @classmethod
    @abstractmethod
    def from_config(
        cls,
        config: TrainingConfig,
        *,
        n_items: int,
        n_interests: int,
        max_len: int,
        sparse_gradients: bool,
    ) -> Self:
        """Make an encoder as it is before training, its weights drawn by torch's generator.

        Args:
            config: How it is to be.
            n_items: Items in the catalog.
            n_interests: k.
            max_len: L in training; no history is longer there.
            sparse_gradients: As of the class.
        """

    @property
    def score_temperature(self) -> Tensor:
        """τ of scores, a scalar."""
        return self.log_score_temperature.exp()

    def item_embeddings(self) -> Tensor:
        """All items' vectors e_v. Shape (n_items, d), float32."""
        if self._neighbours is None:
            return self._sized(self.item_table)
        held = self._of_neighbours(slice(None))
        held += self.item_table  # in place: either of them is as large as the catalog
        return self._sized(held)

    def embed(self, rows: Tensor) -> Tensor:
        """Vectors e_v of some items; training reads the table nowhere else.

        Args:
            rows: Item rows, none of them padding. Any shape, int64.

        Returns:
            Shape (*rows.shape, d), float32.
        """
        vectors = functional.embedding(rows, self.item_table, sparse=self.sparse_gradients)
        if self._neighbours is not None:
            vectors = vectors + self._of_neighbours(rows.flatten()).view_as(vectors)
        return self._sized(vectors)

    def _of_neighbours(self, rows: Tensor | slice) -> Tensor:
        """μ Σ_n w_vn x_n of some items. Shape (n, d), float32."""
        assert self._neighbours is not None
        assert self._neighbour_weights is not None
        return functional.embedding_bag(
            self._neighbours[rows],
            self.item_table,
            per_sample_weights=self._neighbour_weights[rows],
            mode="sum",
            sparse=self.sparse_gradients,
        )

    def _sized(self, vectors: Tensor) -> Tensor:
        return normalize(vectors) if self.unit_vectors else vectors

    def hyper_categories(self) -> Tensor | None:
        """C, the unit vectors that guide interests; None where a model has none.

        Shape (k, d), float32.
        """
        return None

    @abstractmethod
    def interests(self, histories: Tensor, stage: Stage) -> Tensor:
        """Encode histories as they are served; padding does not influence the result.

        Args:
            histories: Item rows, oldest first, ``PADDING`` where there is none (on the right).
                Shape (batch, length), int64.
            stage: One of ``stages``.

        Returns:
            z. Shape (batch, k, d), float32.
        """

    @abstractmethod
    def losses(
        self, batch: TrainingBatch, stage: Stage, config: TrainingConfig
    ) -> dict[str, Tensor]:
        """Return the losses of a stage over one batch by name, weighted; each a scalar, float32."""

    @abstractmethod
    def exported(self, stage: Stage) -> Exported:
        """Return what ``model.inference`` needs to encode as this stage does, but for L and β."""

    @torch.no_grad()
    def start_from(self, item_vectors: Floats, random: np.random.Generator) -> None:  # noqa: ARG002
        """Begin with these item vectors.

        Args:
            item_vectors: Most frequent items first. Shape (n_items, d), float32.
            random: For what is drawn besides.
        """
        self.item_table.copy_(torch.from_numpy(item_vectors))

    def lean_on(self, neighbours: Neighbours, weight: float) -> None:
        """Let an item's vector hold those of its neighbours: e_v = norm(x_v + μ Σ_n w_vn x_n).

        Without unit vectors the same, but for the norm.

        Args:
            neighbours: w, of each item.
            weight: μ.
        """
        device = self.item_table.device
        self._neighbours = torch.from_numpy(neighbours.rows).to(device)
        self._neighbour_weights = weight * torch.from_numpy(neighbours.weights).to(device)

    def learned_terms(self) -> dict[str, float]:
        """Return what is learned besides vectors and matrices, by name."""
        return {"temperature": self.score_temperature.item()}


def scalar(value: float, *, learned: bool) -> nn.Parameter:
    """Make a parameter of one number, which may be fixed."""
    return nn.Parameter(torch.tensor(value), requires_grad=learned)


def normalize(vectors: Tensor) -> Tensor:
    """norm(x) along the last dimension; 0 stays 0. Backward twice as fast as torch's own."""
    return _scale(vectors, _squares(vectors))


def normalize_or(vectors: Tensor, fallback: Tensor) -> Tensor:
    """norm(x) along the last dimension; what has no direction becomes its fallback.

    Args:
        vectors: Shape (..., d), float32. NaN stays NaN.
        fallback: Of a shape that fits that of ``vectors`` by broadcasting.
    """
    squares = _squares(vectors)
    return torch.where(squares < _LEAST_SQUARE, fallback, _scale(vectors, squares))


def _squares(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1, keepdim=True)


def _scale(vectors: Tensor, squares: Tensor) -> Tensor:
    return vectors * squares.clamp(min=_LEAST_SQUARE).rsqrt()
