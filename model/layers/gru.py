"""A GRU over many histories of different lengths at once, as if each ran alone."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

GRU_PHASES = 16
"""Enough to keep padding below a tenth of all cells; each phase costs one call of the GRU."""


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


def gru_tensors(gru: nn.GRU) -> dict[str, Tensor]:
    """Return the weights of a GRU without biases by the names of ``model.inference.gru``."""
    # torch names those of its only layer with the suffix _l0.
    weights = gru.state_dict()
    return {f"gru.{name.removesuffix('_l0')}": weight for name, weight in weights.items()}
