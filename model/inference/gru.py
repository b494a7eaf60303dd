"""A GRU without biases over one history, in NumPy."""

import numpy as np

from model.arrays import Floats
from model.inference.reading import read_tensor
from model.tensor_files import Tensors

_ONE = np.float32(1)


class Gru:
    """One layer, one direction; the weights are those of torch's module.

    Args:
        weight_ih: Reset, update and new gate, from the input. Shape (3 d, d), float32.
        weight_hh: The same from the state. Shape (3 d, d), float32.
    """

    def __init__(self, *, weight_ih: Floats, weight_hh: Floats) -> None:
        self._from_input = np.ascontiguousarray(weight_ih.T)
        self._from_state = np.ascontiguousarray(weight_hh.T)

    def last_state(self, vectors: Floats) -> Floats:
        """Run from a state of zero over vectors of shape (length, d). Shape (d,), float32."""
        dim = vectors.shape[1]
        state = np.zeros(dim, dtype=np.float32)
        with np.errstate(over="ignore"):  # a gate that is shut: exp = ∞, 1 / ∞ = 0
            for inputs in vectors @ self._from_input:
                from_state = state @ self._from_state
                gates = inputs[: 2 * dim] + from_state[: 2 * dim]
                gates = _ONE / (_ONE + np.exp(-gates))
                reset, update = gates[:dim], gates[dim:]
                new = np.tanh(inputs[2 * dim :] + reset * from_state[2 * dim :])
                state = new + update * (state - new)
        return state


def read_gru(tensors: Tensors, dim: int) -> Gru:
    """Read a GRU whose input and state have d entries.

    Raises:
        ValueError: A tensor is missing or does not fit; the message names it.
    """
    shape = (3 * dim, dim)
    return Gru(
        weight_ih=read_tensor(tensors, "gru.weight_ih", shape),
        weight_hh=read_tensor(tensors, "gru.weight_hh", shape),
    )
