"""Blocks of causal self-attention over histories, in NumPy; see ``model.layers.transformer``."""

from typing import NamedTuple, Self

import numpy as np

from model.arrays import Floats
from model.inference.arithmetic import softmax
from model.inference.parts import Parts
from model.inference.reading import read_by_age, read_tensor
from model.tensor_files import Tensors

_EPSILON = np.float32(1e-5)  # of torch's layer norm


class LayerNorm(NamedTuple):
    """Scales rows to mean 0 and variance 1, then weighs and shifts.

    Attributes:
        weight: Shape (d,), float32.
        bias: Shape (d,), float32.
    """

    weight: Floats
    bias: Floats

    def __call__(self, rows: Floats) -> Floats:
        """Normalise along the last axis; shape kept."""
        dim = np.float32(rows.shape[-1])
        centred: Floats = rows - (np.add.reduce(rows, axis=-1) / dim)[..., np.newaxis]
        variance = np.vecdot(centred, centred) / dim
        centred /= np.sqrt(variance + _EPSILON)[..., np.newaxis]
        centred *= self.weight
        centred += self.bias
        return centred

    @classmethod
    def read(cls, tensors: Tensors, name: str, dim: int) -> Self:
        """Read ``NAME.weight`` and ``NAME.bias``; ValueError where one does not fit."""
        weight, bias = (
            read_tensor(tensors, f"{name}.{part}", (dim,)) for part in ("weight", "bias")
        )
        return cls(weight, bias)


class _Block(NamedTuple):
    """The weights of a block; matrices for rows from the left.

    Attributes:
        attention_norm: Before attention.
        query_key_value: Shape (d, 3 d), float32.
        network_norm: Before the network.
        network_in: Shape (d, d), float32.
        bias_in: Shape (d,), float32.
        network_out: Shape (d, d), float32.
        bias_out: Shape (d,), float32.
    """

    attention_norm: LayerNorm
    query_key_value: Floats
    network_norm: LayerNorm
    network_in: Floats
    bias_in: Floats
    network_out: Floats
    bias_out: Floats

    def run(self, states: Floats) -> Floats:
        """Add attention(norm(x)) to x, then network(norm(x)); shape (length, d) kept."""
        length, dim = states.shape
        projected = self.attention_norm(states) @ self.query_key_value
        query, key, value = np.split(projected, 3, axis=1)
        logits = query @ key.T * np.float32(dim**-0.5)
        is_later = np.arange(length) > np.arange(length)[:, np.newaxis]
        logits[is_later] = -np.inf
        attended: Floats = softmax(logits, axis=1) @ value
        return self._add_network(states + attended)

    def run_newest(self, states: Floats, users: Parts) -> Floats:
        """Do so at each user's newest interaction alone, where it takes no product for the others.

        A logit q · K x is (Kᵀ q) · x, and a weighted sum of V x is V times that of x.

        Args:
            states: User after user. Shape (n, d), float32.
            users: Whose they are; everybody has some.

        Returns:
            Shape (n_users, 1, d), float32.
        """
        dim = states.shape[1]
        newest = users.lengths.cumsum() - 1
        normed = self.attention_norm(states)
        query, key, value = np.split(self.query_key_value, 3, axis=1)
        looks_for = normed[newest, np.newaxis] @ query @ key.T * np.float32(dim**-0.5)
        seen: Floats = np.empty(looks_for.shape, dtype=np.float32)
        for part, direction, total in zip(users.slices, looks_for, seen, strict=True):
            weights = softmax(direction @ normed[part].T, axis=1)
            np.matmul(weights, normed[part], out=total)
        attended: Floats = seen @ value
        return self._add_network(states[newest, np.newaxis] + attended)

    def _add_network(self, states: Floats) -> Floats:
        hidden = np.maximum(self.network_norm(states) @ self.network_in + self.bias_in, 0)
        result: Floats = states + (hidden @ self.network_out + self.bias_out)
        return result


class Transformer:
    """Self-attention blocks over items and positions.

    Args:
        positions: The newest interaction's last. Shape (max_len, d), float32.
        blocks: In order.
        norm: Of the last states.
    """

    def __init__(self, *, positions: Floats, blocks: list[_Block], norm: LayerNorm) -> None:
        self._positions = positions
        self._blocks = blocks
        self._norm = norm

    def states(self, vectors: Floats) -> Floats:
        """Return the state at each interaction.

        Args:
            vectors: Of the interactions, oldest first, 1 to ``max_len``. Shape (length, d),
                float32.

        Returns:
            Shape (length, d), float32.
        """
        states = self._begin(vectors)
        for block in self._blocks:
            states = block.run(states)
        return self._norm(states)

    def newest_states(self, vectors: Floats, users: Parts) -> Floats:
        """Return the state at each user's newest interaction.

        Args:
            vectors: Of the interactions, user after user. Shape (n, d), float32.
            users: Whose they are; everybody has 1 to ``max_len``.

        Returns:
            Shape (n_users, 1, d), float32.
        """
        states = np.concatenate([self._begin(vectors[part]) for part in users.slices])
        for block in self._blocks[:-1]:
            states = np.concatenate([block.run(states[part]) for part in users.slices])
        return self._norm(self._blocks[-1].run_newest(states, users))

    def _begin(self, vectors: Floats) -> Floats:
        scale = np.float32(vectors.shape[1] ** 0.5)
        states: Floats = vectors * scale + self._positions[-len(vectors) :]
        return states


def read_attention(
    tensors: Tensors, dim: int, max_len: int, *, model: str, attends: bool
) -> Transformer | None:
    """Read what a model has only where its name says so; see ``read_transformer``.

    Args:
        tensors: By name.
        dim: d.
        max_len: Interactions that it is to read.
        model: Its name in the file.
        attends: Whether that name says so.

    Raises:
        ValueError: The name and the tensors do not agree; or as ``read_transformer``.
    """
    if attends != any(name.startswith("transformer.") for name in tensors):
        raise ValueError(
            f"model is {model}, but tensors of a transformer are "
            f"{'missing' if attends else 'there'}"
        )
    return read_transformer(tensors, dim, max_len) if attends else None


def read_transformer(tensors: Tensors, dim: int, max_len: int) -> Transformer:
    """Read all ``transformer.…``.

    Raises:
        ValueError: A tensor is missing or does not fit; the message names it.
    """
    numbers = {name.split(".")[2] for name in tensors if name.startswith("transformer.blocks.")}
    n_blocks = max(len(numbers), 1)  # without any the first one is missed
    return Transformer(
        positions=read_by_age(tensors, "transformer.positions", dim, max_len),
        blocks=[
            _read_block(tensors, f"transformer.blocks.{number}", dim) for number in range(n_blocks)
        ],
        norm=LayerNorm.read(tensors, "transformer.norm", dim),
    )


def _read_block(tensors: Tensors, name: str, dim: int) -> _Block:
    def matrix(part: str, outputs: int) -> Floats:
        weight = read_tensor(tensors, f"{name}.{part}.weight", (outputs, dim))
        return np.ascontiguousarray(weight.T)

    return _Block(
        attention_norm=LayerNorm.read(tensors, f"{name}.attention_norm", dim),
        query_key_value=matrix("query_key_value", 3 * dim),
        network_norm=LayerNorm.read(tensors, f"{name}.network_norm", dim),
        network_in=matrix("network_in", dim),
        bias_in=read_tensor(tensors, f"{name}.network_in.bias", (dim,)),
        network_out=matrix("network_out", dim),
        bias_out=read_tensor(tensors, f"{name}.network_out.bias", (dim,)),
    )
