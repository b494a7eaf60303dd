"""The general interest of OPAL in NumPy; see ``model.layers.general_interest``."""

from typing import Any, NamedTuple

import numpy as np

from model.arrays import Floats
from model.inference.arithmetic import normalise
from model.inference.evolution import Head
from model.inference.lengths import model_of
from model.inference.parts import Parts
from model.inference.transformer import Transformer, read_attention
from model.tensor_files import Tensors

WITHOUT, ATTENDS = "opal", "opal-attention"
"""What the file says as ``model`` where there is no general interest, and where it attends."""


class General(NamedTuple):
    """What makes the general interest g, which every interest also holds.

    Attributes:
        head: Of the evolution network's last state over the interactions that are read.
        weight: λ, its length beside that of an interest.
        length: Interactions that are read at most, the newest ones.
        attention: What reads them too; None: nothing.
    """

    head: Head
    weight: float
    length: int
    attention: Transformer | None = None

    def vectors(self, states: Floats, embeddings: Floats, users: Parts) -> Floats:
        """Return λ g of each user; 0 where there is no history.

        Args:
            states: The network's last ones. Shape (n_users, 1, d), float32.
            embeddings: e_t of all users, user after user. Shape (n, d), float32.
            users: Whose they are.

        Returns:
            Shape (n_users, 1, d), float32.
        """
        vectors = self.head(states)
        vectors[users.lengths == 0] = 0
        vectors = normalise(vectors)
        if self.attention is not None and len(embeddings):
            read = embeddings
            if users.lengths.max() > self.length:
                read = embeddings[users.places_from_end <= self.length]
            lengths = np.minimum(users.lengths[users.lengths > 0], self.length)
            attended = self.attention.newest_states(read, Parts(lengths.tolist()))
            vectors[users.lengths > 0] += normalise(attended)
            vectors = normalise(vectors)
        result: Floats = self.weight * vectors
        return result


def read_general(tensors: Tensors, settings: dict[str, Any], dim: int) -> General | None:
    """Make it of what OPAL's file holds, which was looked at; None where there is none.

    Raises:
        ValueError: A tensor of self-attention is missing or does not fit; the message names it.
    """
    model = model_of(tensors, settings)
    length = min(settings.get("general_len") or settings["max_len"], settings["max_len"])
    attention = read_attention(tensors, dim, length, model=model, attends=model == ATTENDS)
    weight = settings.get("general", 0.0)
    if not weight:
        if model != WITHOUT:
            raise ValueError(f"general is {weight}, expected more than 0 where model is {model}")
        return None
    head = Head(weight=tensors["general.weight"], bias=tensors["general.bias"])
    return General(head, weight, length, attention)
