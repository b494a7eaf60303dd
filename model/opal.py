"""OPAL's encoder in torch, for training (arXiv 2407.14741).

Embeddings are kept on the unit sphere by parametrisation: a table holds free vectors, and what is
used is always ``normalize(vector)``. Adam's moments then belong to the very numbers they were
made from (a projection after each step would move the vectors under them), and in a large catalog
only the rows in use are normalised.

What depends on an item alone (its vector, its assignment) is computed once for each distinct item
of a batch, however often it occurs there; histories are sums over such rows.
"""

import math
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from model.arrays import Floats, Rows
from model.config.training_config import TrainingConfig
from model.data.cooccurrence import cluster_directions
from model.data.histories import PADDING, TrainingBatch
from model.encoder import Exported, Stage, TrainableEncoder, normalize, scalar
from model.layers.general_interest import GeneralInterest
from model.layers.gru import gru_tensors
from model.layers.interests import EncodedHistories, evolved_interests, soft_interests
from model.layers.losses import future_item_loss, score_items, score_own_items
from model.layers.next_item import Candidates, next_item_loss
from model.layers.objective import guidance_losses
from model.layers.ragged import RaggedRows, Recency
from model.runtime.device import mixed_precision

SOFT, HARD = "soft", "hard"


class OpalEncoder(TrainableEncoder):
    """Histories to k interests guided by k orthogonal hyper-categories.

    Besides the paper's equations there are four terms, which do nothing by default:
    ``sharing`` ε lets every interest hold a share of the whole history, ``recency`` ρ lets older
    interactions count less, the share γ of the evolved interest is not ½ but learned, and each
    interest holds the ``general`` one, λ g, in both stages.

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
        general: λ to start from; 0: no general interest.
        general_len: Interactions that the general interest reads at most; None: all.
        positions: Ages that self-attention of the general interest tells apart; None: it has none.
        sparse_gradients: The item table gets gradients of the rows in use alone.
    """

    stages: ClassVar[tuple[Stage, ...]] = (SOFT, HARD)

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
        general: float = 0.0,
        general_len: int | None = None,
        positions: int | None = None,
        sparse_gradients: bool = False,
    ) -> None:
        super().__init__(
            n_items=n_items,
            dim=dim,
            temperature=score_temperature or temperature,
            learn_temperature=learn_temperature,
            unit_vectors=True,
            sparse_gradients=sparse_gradients,
        )
        self.temperature = temperature
        self.sharing = sharing
        self.learn_recency = learn_recency
        self.hyper_table = nn.Parameter(torch.empty(n_interests, dim))
        nn.init.orthogonal_(self.hyper_table)
        self.gru = nn.GRU(dim, dim, bias=False)
        self.head = nn.Linear(dim, dim)
        # Checkpoints know parameters by their order, and those of earlier versions have τ here.
        log_score_temperature = self.log_score_temperature
        del self.log_score_temperature
        self.log_score_temperature = log_score_temperature
        self.recency = scalar(0.0, learned=learn_recency)
        self.evolution_logit = scalar(
            math.log(evolution / (1 - evolution)), learned=learn_evolution
        )
        self.general = None
        if general:
            self.general = GeneralInterest(
                dim=dim, weight=general, length=general_len, positions=positions
            )
        self.draws_at_random = self.general is not None

    @classmethod
    def from_config(
        cls,
        config: TrainingConfig,
        *,
        n_items: int,
        n_interests: int,
        max_len: int,
        sparse_gradients: bool,
    ) -> Self:
        """See ``TrainableEncoder.from_config``."""
        return cls(
            n_items=n_items,
            n_interests=n_interests,
            dim=config.dim,
            temperature=config.assignment_temperature,
            score_temperature=config.temperature,
            learn_temperature=config.learn_temperature,
            sharing=config.sharing,
            learn_recency=config.learn_recency,
            evolution=config.evolution,
            learn_evolution=config.learn_evolution,
            general=config.general,
            general_len=config.general_len,
            positions=max_len if config.attention else None,
            sparse_gradients=sparse_gradients,
        )

    @torch.no_grad()
    def start_from(self, item_vectors: Floats, random: np.random.Generator) -> None:
        """Begin with these item vectors, and with hyper-categories along their clusters."""
        super().start_from(item_vectors, random)
        directions = cluster_directions(item_vectors, len(self.hyper_table), random)
        self.hyper_table.copy_(torch.from_numpy(directions))

    @property
    def evolution(self) -> Tensor:
        """γ, the share of the evolved interest in the hard stage; a scalar."""
        return self.evolution_logit.sigmoid()

    def hyper_categories(self) -> Tensor:
        """C, the unit vectors of the hyper-categories. Shape (k, d), float32."""
        return normalize(self.hyper_table)

    def learned_terms(self) -> dict[str, float]:
        """See ``TrainableEncoder.learned_terms``: τ of scores, ρ, γ, λ."""
        terms = {
            **super().learned_terms(),
            "recency": self.recency.item(),
            "evolution": self.evolution.item(),
        }
        if self.general is not None:
            terms["general"] = self.general.weight.item()
        return terms

    def interests(self, histories: Tensor, stage: Stage) -> Tensor:
        """See ``TrainableEncoder.interests``; here padding may be anywhere."""
        self.eval()
        return self.forward(histories, stage).interests

    def losses(
        self, batch: TrainingBatch, stage: Stage, config: TrainingConfig
    ) -> dict[str, Tensor]:
        """See ``TrainableEncoder.losses``: that of future items, and what guides interests."""
        self.train()
        device = self.item_table.device

        def tensor(array: Rows | Floats) -> Tensor:
            return torch.from_numpy(array).to(device)

        vectors = self.embed(tensor(batch.items))
        histories = RaggedRows(
            tensor(batch.histories), tensor(batch.lengths), tensor(batch.by_item)
        )
        temperature, owners = self.score_temperature, tensor(batch.owners)
        positives = vectors.index_select(0, tensor(batch.positives))
        negatives = vectors.index_select(0, tensor(batch.negatives))
        with mixed_precision(device):
            encoded = self.encode(vectors, histories, tensor(batch.ages), stage)
            negative_scores = score_items(encoded.interests, negatives, temperature)
            positive_scores = score_own_items(encoded.interests, owners, positives, temperature)
        negative_scores = negative_scores.float()
        log_weights = None if batch.log_weights is None else tensor(batch.log_weights)
        if log_weights is not None:
            negative_scores = negative_scores + log_weights
        prediction = future_item_loss(
            positive_scores.float(), owners, negative_scores, tensor(batch.own_future)
        )
        guidance = guidance_losses(
            self.hyper_categories(),
            encoded.assignment,
            encoded.occurrences,
            config.loss_weights,
            is_hard=stage == HARD,
        )
        losses = {"future_item": prediction, **guidance}
        if encoded.read is not None and config.next_item:
            candidates = Candidates(
                vectors, negatives, tensor(batch.negatives), log_weights, temperature
            )
            losses["next_item"] = config.next_item * next_item_loss(*encoded.read, candidates)
        return losses

    @torch.no_grad()
    def exported(self, stage: Stage) -> Exported:
        """See ``TrainableEncoder.exported``."""
        tensors = {
            "item_embedding": self.item_embeddings(),
            "hyper_category": self.hyper_categories(),
        }
        if stage == HARD or self.general is not None:
            tensors |= gru_tensors(self.gru)
        if stage == HARD:
            tensors |= {f"head.{name}": value for name, value in self.head.state_dict().items()}
        settings = {
            "stage": stage,
            "temperature": self.temperature,
            "recency": self.recency.item(),
            "sharing": self.sharing,
            "evolution": self.evolution.item(),
        }
        if self.general is not None:
            named, general = self.general.exported()
            tensors |= named
            settings |= general
        return Exported({name: each.cpu().numpy() for name, each in tensors.items()}, settings)

    def forward(self, histories: Tensor, stage: Stage) -> EncodedHistories:
        """Encode histories as interests; padding does not influence the result.

        Args:
            histories: Item rows, oldest first, ``PADDING`` where there is none.
                Shape (batch, length), int64.
            stage: "soft" gives z = s (stage 1), "hard" gives z = norm((1 − γ) s + γ h) (stage 2);
                with a general interest norm(s + λ g) and norm(s + γ / (1 − γ) h + λ g).
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
        weights = assignment
        if self.sharing:
            weights = self.sharing + (1 - self.sharing) * assignment
        recency = None
        if self.learn_recency:
            recency = Recency(self.recency, ages.to(vectors.dtype).log1p())
        interests = soft_interests(weights, vectors, histories, recency, hyper_categories)
        mixed = interests
        if stage == HARD:
            hyper_category = logits.T.contiguous().argmax(-1)  # j*(v)
            # Where interests share the history, s_j holds all that is known of an empty one.
            fallback = interests if self.sharing else hyper_categories.expand_as(interests)
            evolved = evolved_interests(
                self.gru,
                self.head,
                vectors,
                histories,
                hyper_category=hyper_category,
                fallback=fallback,
            )
            # norm((1 − γ) s + γ h), over 1 − γ
            mixed = mixed + self.evolution_logit.exp() * evolved
        read = None
        if self.general is not None:
            read = self.general.read(self.gru, vectors, histories, ages)
            mixed = mixed + self.general(read).unsqueeze(1)
        if mixed is not interests:
            interests = normalize(mixed)
        occurrences = histories.occurrences(len(vectors)).to(assignment.dtype)
        return EncodedHistories(interests, assignment, occurrences, read)
