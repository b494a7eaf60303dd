"""The user encoder without torch: history in, k interests out, in NumPy.

The service and ``index build`` encode with this module, so that no worker loads torch and no
training code. It reads what ``model.run`` writes (``encoder.safetensors``) and gives the same
interests as ``model.opal`` to within float32 rounding (tested).

Every history is encoded by operations whose shapes depend on that history alone. A result is
therefore the same to the last bit whatever else is asked for at the same time.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from model.arrays import Floats, Rows
from model.errors import InputError
from model.tensor_files import DAMAGE, Tensors, map_tensors

ENCODER_FILE = "encoder.safetensors"


class Interests(NamedTuple):
    """The k interests of one user.

    Attributes:
        vectors: Unit-length interests z_j. Shape (k, d), float32.
        weights: Share of the history that each interest holds, w_j. Shape (k,), float32.
        counts: Interactions whose hyper-category is j (hard assignment). Shape (k,), int64.
        assignment: Soft assignment a_tj of each interaction used. Shape (length, k), float32.
    """

    vectors: Floats
    weights: Floats
    counts: Rows
    assignment: Floats


class UserEncoder(Protocol):
    """What the index and the service need of a trained encoder, whatever its kind."""

    @property
    def item_vectors(self) -> Floats:
        """Vectors to index, row = item row. Shape (n_items, d), float32."""

    @property
    def n_interests(self) -> int:
        """k, the number of interests per user."""

    @property
    def dim(self) -> int:
        """d, the length of an interest and of an item vector."""

    @property
    def max_len(self) -> int:
        """L, how many of the last interactions are used; earlier ones are ignored."""

    def encode(self, history: Rows) -> Interests:
        """Encode one history (item rows, oldest first; shape (length,), int64)."""


@dataclass(frozen=True)
class _HardParameters:
    """The evolution network of the hard stage: one GRU without bias, then Linear + ReLU."""

    weight_ih: Floats  # (3 d, d): reset, update, new
    weight_hh: Floats  # (3 d, d)
    head_weight: Floats  # (d, d)
    head_bias: Floats  # (d,)


class OpalInferenceEncoder:
    """OPAL's encoder as equations in NumPy (OPAL.md, "Soft interests" and "Hard interests").

    Args:
        item_vectors: Unit-length item embeddings e_v. Shape (n_items, d), float32.
        hyper_categories: Unit-length hyper-categories C. Shape (k, d), float32.
        temperature: τ of the soft assignment.
        max_len: L, interactions used from the end of a history.
        hard: Parameters of stage 2; without them interests are the soft ones.
    """

    def __init__(
        self,
        *,
        item_vectors: Floats,
        hyper_categories: Floats,
        temperature: float,
        max_len: int,
        hard: _HardParameters | None = None,
    ) -> None:
        self._item_vectors = item_vectors
        self._hyper_categories = hyper_categories
        self._temperature = np.float32(temperature)
        self._max_len = max_len
        self._hard = hard

    @property
    def item_vectors(self) -> Floats:
        """See ``UserEncoder.item_vectors``."""
        return self._item_vectors

    @property
    def hyper_categories(self) -> Floats:
        """The k learned orthogonal directions C. Shape (k, d), float32."""
        return self._hyper_categories

    @property
    def n_interests(self) -> int:
        """See ``UserEncoder.n_interests``."""
        return int(self._hyper_categories.shape[0])

    @property
    def dim(self) -> int:
        """See ``UserEncoder.dim``."""
        return int(self._hyper_categories.shape[1])

    @property
    def max_len(self) -> int:
        """See ``UserEncoder.max_len``."""
        return self._max_len

    def encode(self, history: Rows) -> Interests:
        """Encode one history as interests.

        An empty history gives the hyper-categories themselves (each interest falls back to c_j).

        Args:
            history: Item rows, oldest first. Shape (length,), int64. Only the last ``max_len``
                are used.

        Returns:
            The interests.

        Raises:
            IndexError: A row lies outside the catalog.
        """
        history = history[-self._max_len :]
        if len(history) and history.min() < 0:  # NumPy would count it from the end
            raise IndexError(f"row {history.min()} lies outside the catalog")
        embeddings = self._item_vectors[history]
        logits = embeddings @ self._hyper_categories.T / self._temperature
        assignment = _softmax(logits)
        # a_tj = softmax_j(e_t · c_j / τ);  s_j = norm(Σ_t a_tj e_t)
        interests = _normalise(assignment.T @ embeddings, fallback=self._hyper_categories)
        hyper_category = logits.argmax(axis=1)
        counts = np.bincount(hyper_category, minlength=self.n_interests).astype(np.int64)
        if self._hard is not None:
            evolved = self._evolve(embeddings, hyper_category, counts, self._hard)
            # z_j = norm(½ s_j + ½ h_j)
            interests = _normalise(
                np.float32(0.5) * (interests + evolved), fallback=self._hyper_categories
            )
        weights = (
            assignment.mean(axis=0)
            if len(embeddings)
            else np.zeros(self.n_interests, dtype=np.float32)
        )
        return Interests(interests, weights, counts, assignment)

    def _evolve(
        self, embeddings: Floats, hyper_category: Rows, counts: Rows, hard: _HardParameters
    ) -> Floats:
        """Run the GRU over the k sub-sequences at once: h_j, shape (k, d).

        The sub-sequences are taken longest first, so that those still running at a step are
        always the leading rows of the state.
        """
        longest_first = np.argsort(-counts, kind="stable")
        by_interest = np.argsort(hyper_category, kind="stable")  # time order within an interest
        start = np.concatenate(([0], np.cumsum(counts)))[longest_first]
        length = counts[longest_first]
        projected = embeddings[by_interest] @ hard.weight_ih.T
        recurrent = hard.weight_hh.T
        dim = self.dim
        state = np.zeros((self.n_interests, dim), dtype=np.float32)
        for step in range(int(length[0])):
            running = int(np.searchsorted(-length, -step, side="left"))
            inputs = projected[start[:running] + step]
            hidden = state[:running] @ recurrent
            gates = _sigmoid(inputs[:, : 2 * dim] + hidden[:, : 2 * dim])
            reset, update = gates[:, :dim], gates[:, dim:]
            new = np.tanh(inputs[:, 2 * dim :] + reset * hidden[:, 2 * dim :])
            state[:running] = new + update * (state[:running] - new)
        evolved = np.maximum(state @ hard.head_weight.T + hard.head_bias, 0)
        fallback = self._hyper_categories[longest_first]
        evolved = _normalise(evolved, fallback=fallback)
        evolved[length == 0] = fallback[length == 0]
        result = np.empty_like(evolved)
        result[longest_first] = evolved
        return result


def load_encoder(path: Path) -> OpalInferenceEncoder:
    """Load ``encoder.safetensors``, wherever a run or a bundle keeps it; tensors are mapped.

    Raises:
        InputError: The file is missing, damaged, or not an encoder.
    """
    try:
        tensors, metadata = map_tensors(path)
        config: dict[str, Any] = json.loads(metadata["encoder"])
        _check_config(config)
        items, categories = tensors["item_embedding"], tensors["hyper_category"]
        hard = _hard_parameters(tensors) if config["stage"] == "hard" else None
        _check_shapes(items, categories, hard)
        return OpalInferenceEncoder(
            item_vectors=items,
            hyper_categories=categories,
            temperature=config["temperature"],
            max_len=config["max_len"],
            hard=hard,
        )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is this a run or a bundle?") from None
    except DAMAGE as error:
        raise InputError(f"{path}: not an OPAL encoder ({error})") from error


def _hard_parameters(tensors: Tensors) -> _HardParameters:
    return _HardParameters(
        weight_ih=tensors["gru.weight_ih"],
        weight_hh=tensors["gru.weight_hh"],
        head_weight=tensors["head.weight"],
        head_bias=tensors["head.bias"],
    )


def _check_config(config: dict[str, Any]) -> None:
    """Raise ValueError for a value that nothing can be encoded with."""
    stage, max_len, temperature = config["stage"], config["max_len"], config["temperature"]
    if stage not in ("soft", "hard"):
        raise ValueError(f"stage is {stage!r}, expected soft or hard")
    if type(max_len) is not int or max_len < 1:
        raise ValueError(f"max_len is {max_len!r}, expected a whole number from 1")
    if type(temperature) not in (int, float) or not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature!r}, expected a number above 0")


def _check_shapes(items: Floats, categories: Floats, hard: _HardParameters | None) -> None:
    """Raise ValueError where a tensor is not float32 or does not fit the others."""
    dim = categories.shape[-1] if categories.ndim else 0
    expected: list[tuple[str, Floats, tuple[int, ...]]] = [
        ("item_embedding", items, (len(items) if items.ndim else 0, dim)),
        ("hyper_category", categories, (len(categories) if categories.ndim else 0, dim)),
    ]
    if hard is not None:
        expected += [
            ("gru.weight_ih", hard.weight_ih, (3 * dim, dim)),
            ("gru.weight_hh", hard.weight_hh, (3 * dim, dim)),
            ("head.weight", hard.head_weight, (dim, dim)),
            ("head.bias", hard.head_bias, (dim,)),
        ]
    for name, tensor, shape in expected:
        if tensor.dtype != np.float32 or tensor.shape != shape:
            raise ValueError(
                f"{name} is {tensor.dtype} of shape {tensor.shape}, expected float32 of {shape}"
            )
    if categories.size == 0:
        raise ValueError("it has no hyper-category")


def _softmax(logits: Floats) -> Floats:
    """Softmax over the last axis; shape kept."""
    if logits.size == 0:
        return logits
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


def _sigmoid(values: Floats) -> Floats:
    """Logistic function by tanh, which does not overflow."""
    half = np.float32(0.5)
    result: Floats = half * np.tanh(half * values) + half
    return result


def _normalise(vectors: Floats, *, fallback: Floats) -> Floats:
    """Scale rows to unit length; a row without length becomes its fallback. Shape (k, d)."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    has_length = length > np.finfo(np.float32).tiny
    return np.where(has_length, vectors / np.where(has_length, length, 1), fallback)
