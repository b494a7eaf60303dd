"""Prediction of the next item after each interaction of a history, not only after the last.

For models that have a state at each interaction, which nothing later influences. GRU4Rec (arXiv
1511.06939, section 3.1) and SASRec (arXiv 1808.09781, section III.E) are trained so; docs/recipe.md
has what it gives to OPAL's general interest.
"""

from typing import NamedTuple

import torch
from torch import Tensor

POSITIONS_PER_USER = 4
"""On average, drawn at random from the whole batch: all of them would cost several times as much
as the rest of a step."""


class Candidates(NamedTuple):
    """What a state chooses the next item from: that item, and negatives that all states share.

    Attributes:
        vectors: e of the batch's distinct items. Shape (U, d), float32.
        negatives: Shape (N, d), float32.
        negative_rows: The same as rows of ``vectors``. Shape (N,), int64.
        log_weights: Of the negatives; None: 0. Shape (N,), float32.
        temperature: τ of scores, a scalar.
    """

    vectors: Tensor
    negatives: Tensor
    negative_rows: Tensor
    log_weights: Tensor | None
    temperature: Tensor


def next_item_loss(states: Tensor, rows: Tensor, lengths: Tensor, candidates: Candidates) -> Tensor:
    """−log softmax of the item after a position, among it and the shared negatives.

    Args:
        states: After each interaction, as scored. Shape (n_interactions, d), float32.
        rows: Of ``candidates.vectors``: history after history, oldest first.
            Shape (n_interactions,), int64.
        lengths: Of the histories, 0 allowed. Shape (batch,), int64.
        candidates: What there is to choose from.

    Returns:
        The mean over the positions drawn, a scalar; 0 where no history has two interactions.
    """
    positions = _draw_positions(lengths)
    if len(positions) == 0:
        return states.new_zeros(())
    vectors, negatives, negative_rows, log_weights, temperature = candidates
    chosen = states.index_select(0, positions)
    next_rows = rows[positions + 1]
    own = (chosen * vectors.index_select(0, next_rows)).sum(-1) / temperature
    scores = chosen @ negatives.T / temperature
    if log_weights is not None:
        scores = scores + log_weights
    # The item itself does not compete, should it be among the negatives.
    negative_of_row = torch.full((len(vectors),), -1, device=rows.device)
    negative_of_row[negative_rows] = torch.arange(len(negative_rows), device=rows.device)
    negative = negative_of_row[next_rows]
    places = (negative >= 0).nonzero()[:, 0]
    scores = scores.index_put((places, negative[places]), scores.new_tensor(-torch.inf))
    return (torch.logaddexp(scores.logsumexp(1), own) - own).mean()


def _draw_positions(lengths: Tensor) -> Tensor:
    """Draw interactions that another one of the same history follows. Shape (n,), int64."""
    followed = torch.ones(int(lengths.sum()), dtype=torch.bool, device=lengths.device)
    followed[lengths[lengths > 0].cumsum(0) - 1] = False
    positions = followed.nonzero()[:, 0]
    most = POSITIONS_PER_USER * len(lengths)
    if len(positions) > most:
        drawn = torch.randperm(len(positions), device=positions.device)[:most]
        positions = positions[drawn]
    return positions
