"""The evolution network in NumPy: what a GRU makes of each sub-sequence of a history.

arXiv 2407.14741, hard interests. The sub-sequences of all users of a batch run side by
side, and each comes out the same to the last bit as if it had run alone.
"""

from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

import numpy as np

from model.arrays import Floats, Rows

_ONE = np.array(1, dtype=np.float32)  # an array: a Python number costs as much as the sum itself


class SubSequences(NamedTuple):
    """What the network reads, one after the other, of histories that lie in one array.

    Attributes:
        rows: Which interactions, of each sub-sequence in time order. Shape (n,), int64.
        sub_sequence: Whose sub-sequence each of them belongs to. Shape (n,), int64.
        lengths: Interactions of each sub-sequence, 0 allowed. Shape (m,), int64.
    """

    rows: Rows
    sub_sequence: Rows
    lengths: Rows


class EvolutionNetwork:
    """One GRU without bias, shared by all sub-sequences.

    The weights are those of torch's module.

    Args:
        weight_ih: Reset, update and new gate, from the input. Shape (3 d, d), float32.
        weight_hh: The same from the state. Shape (3 d, d), float32.
    """

    def __init__(self, *, weight_ih: Floats, weight_hh: Floats) -> None:
        self._dim = weight_ih.shape[1]
        self._from_input = self._prepare(weight_ih)
        self._from_state = self._prepare(weight_hh)

    def _prepare(self, weight: Floats) -> Floats:
        """Return one matrix a gate for rows from the left, sigmoid gates negated: (3, d, d).

        σ(x) = 1 / (1 + exp(−x)), so that a sigmoid gate is a division by 1 + exp of these.
        """
        gates = weight.reshape(3, self._dim, self._dim).transpose(0, 2, 1)
        signs = np.array([-1, -1, 1], dtype=np.float32)
        return np.ascontiguousarray(gates) * signs[:, np.newaxis, np.newaxis]

    def evolve(
        self, embeddings: Floats, parts: Sequence[slice], kinds: Sequence[SubSequences]
    ) -> list[Floats]:
        """Run every sub-sequence through the network, all side by side.

        Args:
            embeddings: e_t of all users, user after user. Shape (n, d), float32.
            parts: Where those of each user lie, with all rows that are read. Each part is
                multiplied alone, so that the shapes of products, and their rounding, depend on
                nothing else.
            kinds: The sub-sequences, of one kind or more; an interaction may belong to one of each.

        Returns:
            For each kind the last state of each, 0 for one of no interactions. Each of shape
            (m, d), float32.
        """
        lengths = np.concatenate([each.lengths for each in kinds])
        begins = [0, *accumulate(len(each.lengths) for each in kinds)]
        states = np.zeros((len(lengths), self._dim), dtype=np.float32)
        if len(embeddings):
            sub_sequence = np.concatenate(
                [begin + each.sub_sequence for begin, each in zip(begins[:-1], kinds, strict=True)]
            )
            running, reading, order = _lay_out(sub_sequence, lengths)
            rows = np.concatenate([each.rows for each in kinds])[reading]
            n_rows = sum(part.stop - part.start for part in parts)
            inputs = self._inputs(
                embeddings, parts, rows, all_once=len(kinds) == 1 and len(rows) == n_rows
            )
            with np.errstate(over="ignore"):  # a gate that is shut: exp = ∞, 1 / ∞ = 0
                states[order[: running[0]]] = self._last_states(inputs, running)
        return [states[begin:end] for begin, end in pairwise(begins)]

    def _inputs(
        self, embeddings: Floats, parts: Sequence[slice], rows: Rows, *, all_once: bool
    ) -> Floats:
        """Return what goes into the gates, in the order in which it is read.

        Args:
            embeddings: See ``evolve``.
            parts: See ``evolve``.
            rows: Of ``embeddings``, in that order. Shape (m,), int64.
            all_once: Each row of the parts is read, and none twice: products can go to their
                places without a copy between.

        Returns:
            Shape (3, m, d), float32.
        """
        if all_once:
            place = np.empty(len(embeddings), dtype=np.int64)
            place[rows] = np.arange(len(rows))
            inputs = np.empty((3, len(rows), self._dim), dtype=np.float32)
            for part in parts:
                inputs[:, place[part]] = embeddings[part] @ self._from_input
            return inputs
        products = np.empty((3, *embeddings.shape), dtype=np.float32)
        for part in parts:
            np.matmul(embeddings[part], self._from_input, out=products[:, part])
        return products.take(rows, axis=1)

    def _last_states(self, inputs: Floats, running: Rows) -> Floats:
        """Run the GRU from a state of zero.

        Args:
            inputs: To the three gates, of all that run in the first step, then in the second ….
                Shape (3, n, d), float32.
            running: How many run in each step, not rising. Shape (steps,), int64.

        Returns:
            Shape (running[0], d), float32.
        """
        states = np.zeros((running[0], self._dim), dtype=np.float32)
        begin = 0
        for width, steps in _phases(running):
            end = begin + width * steps
            phase = inputs[:, begin:end].reshape(3, steps, width, -1)
            # Arrays of one axis cost less to go through, and the longest phase has one row.
            if width == 1:
                self._run(states[0], np.ascontiguousarray(phase[:, :, 0].swapaxes(0, 1)))
            else:
                self._run(states[:width], phase.swapaxes(0, 1))
            begin = end
        return states

    def _run(self, state: Floats, inputs: Floats) -> None:
        """Take steps in which equally many run: nothing but arithmetic in place.

        Args:
            state: Of each that runs; written. Shape (width, d), or (d,) of the only one, float32.
            inputs: To the three gates. Shape (steps, 3, *state.shape), float32.
        """
        from_state = np.empty((3, *state.shape), dtype=np.float32)
        # Every row is a product of its own. In one of all rows BLAS takes other kernels for other
        # numbers of rows, and the last bits of a row change with what else is there.
        rows, products, matrices = state, from_state, self._from_state
        if state.ndim > 1:
            rows, products = state[:, np.newaxis], from_state[:, :, np.newaxis]
            matrices = matrices[:, np.newaxis]
        new, gates = np.empty_like(state), np.empty((2, *state.shape), dtype=np.float32)
        reset, update = gates  # 1 / r and 1 / u
        to_gates, to_new, inputs_to_gates = from_state[:2], from_state[2], inputs[:, :2]
        if state.ndim == 1:
            gates, to_gates = gates.ravel(), to_gates.ravel()
            inputs_to_gates = inputs_to_gates.reshape(len(inputs), -1)
        for input_to_gates, input_to_new in zip(inputs_to_gates, inputs[:, 2], strict=True):
            np.matmul(rows, matrices, out=products)
            np.add(input_to_gates, to_gates, out=gates)
            np.exp(gates, out=gates)
            np.add(gates, _ONE, out=gates)
            # n = tanh(W x + r · U h);  h ← n + u · (h − n)
            np.divide(to_new, reset, out=new)
            np.add(new, input_to_new, out=new)
            np.tanh(new, out=new)
            np.subtract(state, new, out=state)
            np.divide(state, update, out=state)
            np.add(state, new, out=state)


class Head:
    """Linear, over the states of each user.

    Args:
        weight: Of torch's module. Shape (d, d), float32.
        bias: Shape (d,), float32.
    """

    def __init__(self, *, weight: Floats, bias: Floats) -> None:
        self._weight = np.ascontiguousarray(weight.T)
        self._bias = bias

    def __call__(self, states: Floats) -> Floats:
        """Map states of shape (n_users, m, d), float32, to as many of the same shape."""
        # One product for each user, all of one shape: none depends on how many there are.
        result: Floats = states @ self._weight
        result += self._bias
        return result


def _lay_out(sub_sequence: Rows, lengths: Rows) -> tuple[Rows, Rows, Rows]:
    """Order interactions by step, and those of a step by length, longest sub-sequence first.

    So those that run in a step are the leading rows of the states, and their inputs lie together.

    Args:
        sub_sequence: Shape (n,), int64; n > 0.
        lengths: Shape (n_sub_sequences,), int64.

    Returns:
        How many run in each step, shape (steps,); which interaction comes at each place, shape
        (n,); the sub-sequences, longest first, shape (n_sub_sequences,). All int64.
    """
    order = np.argsort(-lengths, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_sub_sequence = np.argsort(sub_sequence, kind="stable")
    step = np.arange(len(sub_sequence)) - (lengths.cumsum() - lengths).repeat(lengths)
    running = np.bincount(step)
    reading = np.empty_like(by_sub_sequence)
    reading[(running.cumsum() - running)[step] + place.repeat(lengths)] = by_sub_sequence
    return running, reading, order


def _phases(running: Rows) -> list[tuple[int, int]]:
    """Return (how many run, for how many steps) for each stretch of steps with equally many."""
    return [(width, len(list(steps))) for width, steps in groupby(running.tolist())]
