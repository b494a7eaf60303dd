"""OPAL's interests of a batch of histories (arXiv 2407.14741: soft interests, hard interests)."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from model.encoder import normalize_or
from model.layers.general_interest import ReadHistories
from model.layers.gru import last_states
from model.layers.ragged import RaggedRows, Recency, weighted_sums


class EncodedHistories(NamedTuple):
    """What the encoder gives for a batch that holds U distinct items.

    Attributes:
        interests: z, unit length. Shape (batch, k, d), float32.
        assignment: Soft assignment a_vj of each distinct item: a_tj of every interaction with it.
            Shape (U, k), float32.
        occurrences: Interactions with each of these items. Shape (U,), float32.
        read: What the general interest is made of; None without one.
    """

    interests: Tensor
    assignment: Tensor
    occurrences: Tensor
    read: ReadHistories | None


def soft_interests(
    weights: Tensor,
    vectors: Tensor,
    histories: RaggedRows,
    recency: Recency | None,
    hyper_categories: Tensor,
) -> Tensor:
    """s_j = norm(Σ_t w_tj (1 + age_t)^(−ρ) e_t); c_j where there is no mass.

    Args:
        weights: w_vj of each distinct item, in the paper a_vj. Shape (U, k), float32.
        vectors: e_v of distinct items. Shape (U, d), float32.
        histories: A part for each user: rows of ``vectors``, oldest first.
        recency: What the age of interactions makes of their weight; None: nothing.
        hyper_categories: C. Shape (k, d), float32.

    Returns:
        Shape (batch, k, d), float32.
    """
    return normalize_or(weighted_sums(weights, vectors, histories, recency), hyper_categories)


def evolved_interests(
    gru: nn.GRU,
    head: nn.Linear,
    vectors: Tensor,
    histories: RaggedRows,
    *,
    hyper_category: Tensor,
    fallback: Tensor,
) -> Tensor:
    """h_j: the GRU's last state over the sub-sequence S^j, then Linear, ReLU, norm.

    Args:
        gru: One layer, no biases, time first.
        head: d to d.
        vectors: e_v of distinct items. Shape (U, d), float32.
        histories: As in ``soft_interests``.
        hyper_category: j*(v). Shape (U,), int64.
        fallback: What a sub-sequence without interactions gives. Shape (batch, k, d), float32.

    Returns:
        Shape (batch, k, d), float32.
    """
    n_users, k, _ = fallback.shape
    rows = histories.rows
    result = fallback.flatten(0, 1)
    if len(rows):
        sub_sequence = histories.parts() * k + hyper_category[rows]
        states, order = last_states(gru, vectors, rows, sub_sequence, n_users * k)
        # Half precision ends here: norm(x) would lose short vectors in it.
        evolved = functional.relu(head(states)).to(result.dtype)
        # An interest whose every unit is cut by the ReLU has no direction: it too falls back.
        evolved = normalize_or(evolved, result[order])
        result = result.index_copy(0, order, evolved)
    return result.view(n_users, k, -1)
