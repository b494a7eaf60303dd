"""OPAL's encoder in torch, for training (arXiv 2407.14741).

Embeddings are kept on the unit sphere by parametrisation: a table holds free vectors, and what is
used is always ``normalize(vector)``. Adam's moments then belong to the very numbers they were
made from (a projection after each step would move the vectors under them), and in a large catalog
only the rows in use are normalised.

What depends on an item alone (its vector, its assignment) is computed once for each distinct item
of a batch, however often it occurs there; histories are sums over such rows.

Rows are those of the catalog, from 0; a padded position of a history holds ``PADDING`` (−1), which
no table has, so that padding which escapes its mask fails instead of counting as an item.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.histories import PADDING
from model.ragged import RaggedRows, Recency, last_states, weighted_sums

Stage = Literal["soft", "hard"]

_LEAST_SQUARE = 1e-24  # what is shorter than 1e-12 has no direction (model.inference says so too)


class EncodedHistories(NamedTuple):
    """What the encoder gives for a batch that holds U distinct items.

    Attributes:
        interests: z, unit length. Shape (batch, k, d), float32.
        assignment: Soft assignment a_vj of each distinct item: a_tj of every interaction with it.
            Shape (U, k), float32.
        occurrences: Interactions with each of these items. Shape (U,), float32.
    """

    interests: Tensor
    assignment: Tensor
    occurrences: Tensor


class OpalEncoder(nn.Module):
    """Histories to k interests guided by k orthogonal hyper-categories.

    Besides the paper's equations there are three terms, which do nothing by default:
    ``sharing`` ε lets every interest hold a share of the whole history, ``recency`` ρ lets older
    interactions count less, and the share γ of the evolved interest is not ½ but learned.

    Args:
        n_items: Items in the catalog.
        n_interests: k, interests per user = number of hyper-categories.
        dim: d, embedding and hidden size.
        temperature: τ of the soft assignment.
        score_temperature: τ of scores; None: that of the assignment.
        learn_temperature: Learn τ of scores.
        sharing: ε.
        learn_recency: Learn ρ; else it is 0.
        evolution: γ.
        learn_evolution: Learn γ.
        sparse_gradients: The item table gets gradients of the rows in use alone.
    """

    def __init__(
        self,
        *,
        n_items: int,
        n_interests: int,
        dim: int,
        temperature: float,
        score_temperature: float | None = None,
        learn_temperature: bool = False,
        sharing: float = 0.0,
        learn_recency: bool = False,
        evolution: float = 0.5,
        learn_evolution: bool = False,
        sparse_gradients: bool = False,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.sharing = sharing
        self.learn_recency = learn_recency
        self.sparse_gradients = sparse_gradients
        self.item_table = nn.Parameter(torch.randn(n_items, dim) / dim**0.5)
        self.hyper_table = nn.Parameter(torch.empty(n_interests, dim))
        nn.init.orthogonal_(self.hyper_table)
        self.gru = nn.GRU(dim, dim, bias=False)
        self.head = nn.Linear(dim, dim)
        self.log_score_temperature = _scalar(
            math.log(score_temperature or temperature), learned=learn_temperature
        )
        self.recency = _scalar(0.0, learned=learn_recency)
        self.evolution_logit = _scalar(
            math.log(evolution / (1 - evolution)), learned=learn_evolution
        )

    @torch.no_grad()
    def start_from(self, item_vectors: Tensor, directions: Tensor) -> None:
        """Begin with these item vectors and hyper-categories.

        Args:
            item_vectors: Shape (n_items, d), float32.
            directions: Orthonormal. Shape (k, d), float32.
        """
        self.item_table.copy_(item_vectors)
        self.hyper_table.copy_(directions)

    @property
    def score_temperature(self) -> Tensor:
        """τ of scores, a scalar."""
        return self.log_score_temperature.exp()

    @property
    def evolution(self) -> Tensor:
        """γ, the share of the evolved interest in the hard stage; a scalar."""
        return self.evolution_logit.sigmoid()

    def item_embeddings(self) -> Tensor:
        """All items' unit vectors e_v. Shape (n_items, d), float32."""
        return normalize(self.item_table)

    def embed(self, rows: Tensor) -> Tensor:
        """Unit vectors e_v of some items; training reads the table nowhere else.

        Args:
            rows: Item rows, none of them padding. Any shape, int64.

        Returns:
            Shape (*rows.shape, d), float32.
        """
        return normalize(functional.embedding(rows, self.item_table, sparse=self.sparse_gradients))

    def hyper_categories(self) -> Tensor:
        """C, the unit vectors of the hyper-categories. Shape (k, d), float32."""
        return normalize(self.hyper_table)

    def forward(self, histories: Tensor, stage: Stage) -> EncodedHistories:
        """Encode histories as interests; padding does not influence the result.

        Args:
            histories: Item rows, oldest first, ``PADDING`` where there is none.
                Shape (batch, length), int64.
            stage: "soft" gives z = s (stage 1), "hard" gives z = norm((1 − γ) s + γ h) (stage 2).
        """
        is_item = histories != PADDING
        items, rows = torch.unique(histories[is_item], return_inverse=True)
        ages = is_item.flip(1).cumsum(1).flip(1)[is_item] - 1
        ragged = RaggedRows(rows, is_item.sum(1), rows.argsort())
        return self.encode(self.embed(items), ragged, ages, stage)

    def encode(
        self, vectors: Tensor, histories: RaggedRows, ages: Tensor, stage: Stage
    ) -> EncodedHistories:
        """Encode histories over items whose vectors are there already.

        Args:
            vectors: e_v of distinct items. Shape (U, d), float32.
            histories: A part for each user: rows of ``vectors``, oldest first.
            ages: Of each of these interactions: 0 for the newest of a user, then 1, 2, …
                Shape (n_interactions,), int64.
            stage: As in ``forward``.
        """
        hyper_categories = self.hyper_categories()
        # (k, U): a softmax over rows takes a fraction of the time of one over columns this short.
        # Where products run in half precision, what a small τ spreads apart does not.
        logits = (hyper_categories @ vectors.T).to(vectors.dtype) / self.temperature
        assignment = logits.softmax(0).T.contiguous()  # a_vj = softmax_j(e_v · c_j / τ)
        interests = self._soft_interests(vectors, assignment, histories, ages, hyper_categories)
        if stage == "hard":
            hyper_category = logits.T.contiguous().argmax(-1)  # j*(v)
            evolved = self._hard_interests(
                vectors, hyper_category, histories, hyper_categories, interests
            )
            # norm((1 − γ) s + γ h), over 1 − γ
            interests = normalize(interests + self.evolution_logit.exp() * evolved)
        occurrences = histories.occurrences(len(vectors)).to(assignment.dtype)
        return EncodedHistories(interests, assignment, occurrences)

    def _soft_interests(
        self,
        vectors: Tensor,
        assignment: Tensor,
        histories: RaggedRows,
        ages: Tensor,
        hyper_categories: Tensor,
    ) -> Tensor:
        """s_j = norm(Σ_t (ε + (1 − ε) a_tj) (1 + age_t)^(−ρ) e_t); c_j where there is no mass.

        Shape (batch, k, d).
        """
        weights = assignment
        if self.sharing:
            weights = self.sharing + (1 - self.sharing) * assignment
        recency = None
        if self.learn_recency:
            recency = Recency(self.recency, ages.to(vectors.dtype).log1p())
        total = weighted_sums(weights, vectors, histories, recency)
        return normalize_or(total, hyper_categories)

    def _hard_interests(
        self,
        vectors: Tensor,
        hyper_category: Tensor,
        histories: RaggedRows,
        hyper_categories: Tensor,
        soft_interests: Tensor,
    ) -> Tensor:
        """h_j: the GRU's last state over the sub-sequence S^j, then Linear, ReLU, norm.

        A sub-sequence without interactions gives c_j; where interests share the history (ε > 0),
        it gives s_j, which then holds all that is known.

        Args:
            vectors: Shape (U, d), float32.
            hyper_category: j*(v). Shape (U,), int64.
            histories: As in ``encode``.
            hyper_categories: Shape (k, d), float32.
            soft_interests: Shape (batch, k, d), float32.

        Returns:
            Shape (batch, k, d), float32.
        """
        n_users, k = len(histories.lengths), len(hyper_categories)
        rows = histories.rows
        if self.sharing:
            result = soft_interests.flatten(0, 1)
        else:
            result = hyper_categories.repeat(n_users, 1)
        if len(rows):
            sub_sequence = histories.parts() * k + hyper_category[rows]
            states, order = last_states(self.gru, vectors, rows, sub_sequence, n_users * k)
            # Half precision ends here: norm(x) would lose short vectors in it.
            evolved = functional.relu(self.head(states)).to(result.dtype)
            # An interest whose every unit is cut by the ReLU has no direction: it too falls back.
            evolved = normalize_or(evolved, result[order])
            result = result.index_copy(0, order, evolved)
        return result.view(n_users, k, -1)


def _scalar(value: float, *, learned: bool) -> nn.Parameter:
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
