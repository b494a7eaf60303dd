"""OPAL's encoder without torch: the interests of ``model.opal`` to within float32 rounding.

Histories are encoded together, for speed, by operations whose shapes and order depend on each
history alone. A result is therefore the same to the last bit whatever else is in the batch.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.arrays import Floats, Rows
from model.inference.arithmetic import normalise_or, softmax
from model.inference.encoder import Interests
from model.inference.evolution import EvolutionNetwork, Head, SubSequences
from model.inference.general import General, read_general
from model.inference.lengths import ITEM_LENGTH, without_lengths
from model.inference.opal_checks import check_settings, check_shapes
from model.inference.parts import Parts
from model.tensor_files import Tensors


class OpalInferenceEncoder:
    """OPAL's encoder as equations in NumPy (arXiv 2407.14741: soft and hard interests).

    The defaults of the last four are the paper's equations; training chooses others.

    Args:
        item_vectors: Item embeddings e_v, of unit length but for ``item_lengths``.
            Shape (n_items, d), float32.
        hyper_categories: Unit-length hyper-categories C. Shape (k, d), float32.
        temperature: τ of the soft assignment.
        max_len: L, interactions used from the end of a history.
        network: The evolution network, of stage 2 and of the general interest.
        head: That of stage 2; without it interests are the soft ones.
        recency: ρ; an interaction with ``age`` others after it weighs (1 + age)^(−ρ).
        sharing: ε, the share of the whole history in every interest, 0 to 1.
        evolution: γ, the share of the evolved interest in stage 2, 0 to 1.
        general: The general interest; None: there is none.
        item_lengths: What item vectors were multiplied by (``model.inference.lengths``).
            Shape (n_items,), float32. None: nothing.
    """

    def __init__(
        self,
        *,
        item_vectors: Floats,
        hyper_categories: Floats,
        temperature: float,
        max_len: int,
        network: EvolutionNetwork | None = None,
        head: Head | None = None,
        recency: float = 0.0,
        sharing: float = 0.0,
        evolution: float = 0.5,
        general: General | None = None,
        item_lengths: Floats | None = None,
    ) -> None:
        self._item_vectors = item_vectors
        self._hyper_categories = hyper_categories
        self._to_logits = np.ascontiguousarray(hyper_categories.T) / np.float32(temperature)
        self._max_len = max_len
        self._network = network
        self._head = head
        self._recency = recency
        self._sharing = sharing
        self._evolution = evolution
        self._general = general
        self._item_lengths = item_lengths

    @property
    def item_vectors(self) -> Floats:
        """See ``UserEncoder.item_vectors``."""
        return self._item_vectors

    @property
    def item_lengths(self) -> Floats | None:
        """See ``UserEncoder.item_lengths``."""
        return self._item_lengths

    @property
    def unit_vectors(self) -> bool:
        """See ``UserEncoder.unit_vectors``."""
        return True

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

    def history_vectors(self, rows: Rows) -> Floats:
        """See ``UserEncoder.history_vectors``."""
        return without_lengths(self._item_vectors[rows], self._item_lengths, rows)

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
        return self.encode_batch([history])[0]

    def encode_batch(self, histories: Sequence[Rows]) -> list[Interests]:
        """Encode histories together; see ``encode``.

        Raises:
            IndexError: A row of any of them lies outside the catalog.
        """
        if not histories:
            return []
        used = [history[-self._max_len :] for history in histories]
        rows = np.concatenate(used)
        if len(rows) and rows.min() < 0:  # NumPy would count it from the end
            raise IndexError(f"row {rows.min()} lies outside the catalog")
        users = Parts([len(history) for history in used])
        embeddings = self.history_vectors(rows)
        logits = users.products(embeddings, self._to_logits)
        assignment = softmax(logits, axis=-1)  # a_tj = softmax_j(e_t · c_j / τ)
        interests = self._soft_interests(embeddings, assignment, users)
        hyper_category = logits.argmax(axis=1)  # j*(t)
        interest = users.part_of_row * self.n_interests + hyper_category
        counts = np.bincount(interest, minlength=len(histories) * self.n_interests)
        counts = counts.reshape(len(histories), -1)
        if self._network is not None:
            evolved, last = self._last_states(self._network, embeddings, users, interest, counts)
            general = None
            if self._general is not None and last is not None:
                general = self._general.vectors(last, embeddings, users)
            interests = self._mixed(interests, evolved, general, counts)
        weights = users.sums(assignment) / np.maximum(users.lengths, 1)[:, np.newaxis]
        return [
            Interests(*each)
            for each in zip(
                interests,
                weights.astype(np.float32),
                counts,
                [assignment[part] for part in users.slices],
                strict=True,
            )
        ]

    def _soft_interests(self, embeddings: Floats, assignment: Floats, users: Parts) -> Floats:
        """s_j = norm(Σ_t (ε + (1 − ε) a_tj) (1 + age_t)^(−ρ) e_t); c_j where the sum is 0.

        Returns:
            Shape (n_users, k, d), float32.
        """
        shares = self._sharing + (1 - self._sharing) * assignment
        shares *= (users.places_from_end**-self._recency)[:, np.newaxis]
        totals = users.weighted_sums(shares, embeddings)
        return normalise_or(totals, self._hyper_categories)

    def _last_states(
        self,
        network: EvolutionNetwork,
        embeddings: Floats,
        users: Parts,
        interest: Rows,
        counts: Rows,
    ) -> tuple[Floats | None, Floats | None]:
        """Run the network over all that it is to read, side by side.

        Args:
            network: The network.
            embeddings: Shape (n, d), float32.
            users: Whose they are.
            interest: The sub-sequence of each interaction, user after user. Shape (n,), int64.
            counts: Interactions of each sub-sequence. Shape (n_users, k), int64.

        Returns:
            Its last states: of the interests' sub-sequences, shape (n_users, k, d), where it is
            stage 2, and of whole histories, (n_users, 1, d), where there is a general interest.
        """
        kinds, parts, rows = [], users.slices, np.arange(len(embeddings))
        if self._head is not None:
            kinds.append(SubSequences(rows, interest, counts.ravel()))
        if self._general is not None:
            lengths = np.minimum(users.lengths, self._general.length)
            if not kinds:
                ends = zip(parts, lengths.tolist(), strict=True)
                parts = [slice(part.stop - length, part.stop) for part, length in ends]
            is_read = users.places_from_end <= self._general.length
            kinds.append(SubSequences(rows[is_read], users.part_of_row[is_read], lengths))
        states = network.evolve(embeddings, parts, kinds)
        return (
            None if self._head is None else states[0].reshape(*counts.shape, -1),
            None if self._general is None else states[-1][:, np.newaxis],
        )

    def _mixed(
        self, interests: Floats, evolved: Floats | None, general: Floats | None, counts: Rows
    ) -> Floats:
        """z_j = norm((1 − γ) s_j + γ h_j), with h_j = norm(ReLU(head)); or norm(s_j) in stage 1.

        With a general interest, λ g is added, over 1 − γ. Without interactions, or where the
        ReLU leaves nothing, h_j = c_j; but h_j = s_j where interests share the history (ε > 0):
        such a one says what the whole history says.

        Args:
            interests: s. Shape (n_users, k, d), float32.
            evolved: Last states of their sub-sequences, in stage 2. Shape (n_users, k, d), float32.
            general: λ g. Shape (n_users, 1, d), float32.
            counts: Shape (n_users, k), int64.

        Returns:
            Shape (n_users, k, d), float32.
        """
        mixed, share = interests, 1.0
        if self._head is not None and evolved is not None:
            evolved = self._head(evolved)
            np.maximum(evolved, 0, out=evolved)
            evolved[counts == 0] = 0
            fallback = interests if self._sharing else self._hyper_categories
            evolved = normalise_or(evolved, fallback)
            share = 1 - self._evolution
            mixed = share * interests + self._evolution * evolved
        if general is not None:
            mixed = mixed + share * general
        return normalise_or(mixed, self._hyper_categories)


def load(tensors: Tensors, settings: dict[str, Any]) -> OpalInferenceEncoder:
    """Make the encoder of what ``model.opal`` exports.

    Args:
        tensors: By name, as in the file.
        settings: What else determines the encoder.

    Raises:
        ValueError: A tensor or a setting is one that nothing can be encoded with.
        KeyError: One is missing.
    """
    check_settings(settings)
    is_hard, weight = settings["stage"] == "hard", settings.get("general", 0.0)
    check_shapes(tensors, is_hard=is_hard, has_general=weight > 0)
    network = None
    if is_hard or weight:
        network = EvolutionNetwork(
            weight_ih=tensors["gru.weight_ih"], weight_hh=tensors["gru.weight_hh"]
        )
    head = None
    if is_hard:
        head = Head(weight=tensors["head.weight"], bias=tensors["head.bias"])
    return OpalInferenceEncoder(
        item_vectors=tensors["item_embedding"],
        hyper_categories=tensors["hyper_category"],
        temperature=settings["temperature"],
        max_len=settings["max_len"],
        network=network,
        head=head,
        general=read_general(tensors, settings, tensors["hyper_category"].shape[1]),
        item_lengths=tensors.get(ITEM_LENGTH),
        **{
            name: settings[name] for name in ("recency", "sharing", "evolution") if name in settings
        },
    )
