"""Sums and recurrences over histories of different lengths, without padding and without a loop.

A ragged array is all its parts laid one after the other, with the length of each part.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

GRU_PHASES = 16
"""Enough to keep padding below a tenth of all cells; each phase costs one call of the GRU."""


class RaggedRows(NamedTuple):
    """Rows of a table, in parts of different lengths.

    Attributes:
        rows: Part after part. Shape (n,), int64.
        lengths: Of the parts, 0 allowed. Shape (n_parts,), int64.
        by_row: The places in ``rows`` in order of the row they hold: its argsort. Whoever makes
            the rows often has a faster way to sort them than torch's. Shape (n,), int64.
    """

    rows: Tensor
    lengths: Tensor
    by_row: Tensor

    def parts(self) -> Tensor:
        """The part of each row. Shape (n,), int64."""
        return torch.repeat_interleave(self.lengths)

    def occurrences(self, n_rows: int) -> Tensor:
        """How often each row of a table occurs. Shape (n_rows,), int64."""
        return self.rows.bincount(minlength=n_rows)


class Recency(NamedTuple):
    """Weight of an interaction by its age: r = (1 + age)^(−ρ).

    Attributes:
        exponent: ρ, a scalar.
        log_age: log(1 + age), age 0 for the newest of a history, then 1, 2, …
            Shape (n,), float32.
    """

    exponent: Tensor
    log_age: Tensor

    def weights(self) -> Tensor:
        """Return r. Shape (n,), float32."""
        return (-self.exponent * self.log_age).exp()


def weighted_sums(
    weights: Tensor, vectors: Tensor, ragged: RaggedRows, recency: Recency | None = None
) -> Tensor:
    """Sum vectors over each part, once with each of their k weights: Σ_i r_i w_ij v_i.

    Args:
        weights: Of each row of ``vectors``. Shape (n_rows, k), float32.
        vectors: Shape (n_rows, d), float32.
        ragged: Which rows each part sums; a part without any gives zeros.
        recency: What each place counts besides, r_i; None: 1.

    Returns:
        Shape (n_parts, k, d), float32.
    """
    exponent, log_age = recency if recency is not None else (None, None)
    result: Tensor = _WeightedSums.apply(  # type: ignore[no-untyped-call]
        weights, vectors, exponent, log_age, *ragged
    )
    return result


class _WeightedSums(torch.autograd.Function):
    """Each row times its weights once, then ``embedding_bag``, forward and backward.

    The gradient of a row is the sum of those of the parts that hold it: the same sum, seen from
    the other side. torch's own backward of ``embedding_bag`` takes several times as long on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor,
        vectors: Tensor,
        exponent: Tensor | None,
        log_age: Tensor | None,
        *ragged: Tensor,
    ) -> Tensor:
        recency = None if exponent is None or log_age is None else Recency(exponent, log_age)
        ctx.recency = recency
        ctx.save_for_backward(weights, vectors, *ragged)
        products = weights.unsqueeze(2) * vectors.unsqueeze(1)
        return _sum_parts(
            products, RaggedRows(*ragged), None if recency is None else recency.weights()
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weights, vectors, *tensors = ctx.saved_tensors
        ragged = RaggedRows(*tensors)
        recency: Recency | None = ctx.recency
        of_place = None if recency is None else recency.weights()
        to_exponent = None
        if recency is not None and of_place is not None and ctx.needs_input_grad[2]:
            # ∂r/∂ρ = −log(1 + age) r: the same sum with other weights.
            products = weights.unsqueeze(2) * vectors.unsqueeze(1)
            to_exponent = (
                _sum_parts(products, ragged, -recency.log_age * of_place) * gradient
            ).sum()
        by_row = RaggedRows(
            ragged.parts()[ragged.by_row], ragged.occurrences(len(vectors)), ragged.by_row
        )
        products = _sum_parts(
            gradient, by_row, None if of_place is None else of_place[ragged.by_row]
        )
        to_weights = torch.linalg.vecdot(products, vectors.unsqueeze(1))
        to_vectors = products.mul_(weights.unsqueeze(2)).sum(1)
        return to_weights, to_vectors, to_exponent, *[None] * 4


def _sum_parts(values: Tensor, ragged: RaggedRows, weights: Tensor | None) -> Tensor:
    """Sum rows of ``values`` over each part. Shape (n_parts, *values.shape[1:])."""
    sums = functional.embedding_bag(
        ragged.rows,
        values.flatten(1),
        _starts(ragged.lengths),
        mode="sum",
        per_sample_weights=weights,
    )
    return sums.view(-1, *values.shape[1:])


def _starts(lengths: Tensor) -> Tensor:
    return lengths.cumsum(0) - lengths


class _SideBySide(NamedTuple):
    """Sub-sequences laid side by side so that they end together, for a GRU to run over.

    Cells come in order of the step, and those of a step in order of length, the longest first.

    Attributes:
        row_of_cell: Row of the vectors that is the input; for padding one past the last.
            Shape (n_cells,), int64.
        cell: Of each interaction. Shape (n,), int64.
        order: The sub-sequences, longest first, empty ones last. Shape (n_sub_sequences,), int64.
        widths: How many sub-sequences run in each phase, rising. Shape (phases,), int64.
        steps: How many steps each phase has. Shape (phases,), int64.
    """

    row_of_cell: Tensor
    cell: Tensor
    order: Tensor
    widths: Tensor
    steps: Tensor


def last_states(
    gru: nn.GRU, vectors: Tensor, rows: Tensor, sub_sequence: Tensor, n_sub_sequences: int
) -> tuple[Tensor, Tensor]:
    """The last state of a GRU over each of many sub-sequences, as if each ran alone.

    Args:
        gru: One layer, one direction, no biases, time first.
        vectors: Shape (n_vectors, d), float32.
        rows: The vector of each interaction, in time order within each sub-sequence.
            Shape (n,), int64; n > 0.
        sub_sequence: The sub-sequence of each. Shape (n,), int64.
        n_sub_sequences: How many there are, empty ones included.

    Returns:
        The states, longest sub-sequence first, and the number of the sub-sequence of each, empty
        ones left out. Shapes (n_filled, d), float32, and (n_filled,), int64.
    """
    side_by_side = _lay_side_by_side(rows, sub_sequence, n_sub_sequences, len(vectors))
    states = vectors.new_zeros(1, 0, gru.hidden_size)
    for _, states in _run_phases(gru, vectors, side_by_side):  # noqa: B007 - the last ones count
        pass
    return states[0], side_by_side.order[: states.shape[1]]


def all_states(
    gru: nn.GRU, vectors: Tensor, rows: Tensor, sub_sequence: Tensor, n_sub_sequences: int
) -> Tensor:
    """The state of a GRU after each interaction of many sub-sequences; see ``last_states``.

    Returns:
        Shape (n, d), float32.
    """
    side_by_side = _lay_side_by_side(rows, sub_sequence, n_sub_sequences, len(vectors))
    outputs = [output for output, _ in _run_phases(gru, vectors, side_by_side)]
    return torch.cat(outputs).index_select(0, side_by_side.cell)


def _lay_side_by_side(
    rows: Tensor, sub_sequence: Tensor, n_sub_sequences: int, n_vectors: int
) -> _SideBySide:
    """Lay out what a GRU runs over.

    Sub-sequences end together: what comes before a shorter one is padded with zeros. A GRU
    without biases stays exactly at its first state, zero, as long as its input is zero, so this
    padding changes nothing. The common run goes in a few phases, from the longest sub-sequences'
    first step to the last; those that join in a phase are appended to the ones that run already.

    torch's packed sequences do the same without any padding, but their backward fills a tensor as
    large as the whole input with zeros for every step.
    """
    lengths = sub_sequence.bincount(minlength=n_sub_sequences)
    order = lengths.argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    # How many interactions of its own sub-sequence come after each interaction.
    remaining = torch.empty_like(sub_sequence)
    by_sub_sequence = sub_sequence.argsort(stable=True)
    remaining[by_sub_sequence] = lengths.cumsum(0)[sub_sequence[by_sub_sequence]] - torch.arange(
        1, len(rows) + 1, device=rows.device
    )
    running = _running_with_padding(remaining.bincount())

    # Cells: first all that run in the first step, then all in the second …, longest first in each.
    n_cells = running.sum()
    row_of_cell = rows.new_full((int(n_cells),), n_vectors)
    cell = (n_cells - running.cumsum(0))[remaining] + place[sub_sequence]
    row_of_cell[cell] = rows
    widths, steps = torch.unique_consecutive(running.flip(0), return_counts=True)
    return _SideBySide(row_of_cell, cell, order, widths, steps)


def _run_phases(
    gru: nn.GRU, vectors: Tensor, side_by_side: _SideBySide
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield after each phase the states of its cells, (cells, d), and the last ones, (1, w, d)."""
    cells = functional.pad(vectors, (0, 0, 0, 1)).index_select(0, side_by_side.row_of_cell)
    widths, steps = side_by_side.widths, side_by_side.steps
    state = vectors.new_zeros(1, 0, gru.hidden_size)
    for phase, width in zip(
        torch.split(cells, (widths * steps).tolist()), widths.tolist(), strict=True
    ):
        state = functional.pad(state, (0, 0, 0, width - state.shape[1]))
        output, state = gru(phase.view(-1, width, gru.input_size), state)
        yield output.flatten(0, 1), state


def _running_with_padding(running: Tensor) -> Tensor:
    """Let sub-sequences join earlier, so that their number changes a few times only.

    The square root of the number is rounded up to one of ``GRU_PHASES`` levels: narrow ones where
    few sub-sequences run and wide ones where many do lose about the least, whatever the lengths.

    Args:
        running: How many run when 0, 1, … steps remain after this one; not rising. Shape (steps,).

    Returns:
        The same, rounded up to the largest number of the same level. Shape (steps,), int64.
    """
    level = (running.sqrt() * (GRU_PHASES / running[0].sqrt())).ceil()
    largest_at = torch.searchsorted(-level, -level)
    return running[largest_at]
