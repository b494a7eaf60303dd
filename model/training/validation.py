"""What is looked at in an encoder in training: how good it is, and whether it has collapsed."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Floats, Rows
from model.data.dataset import Sequences
from model.data.histories import pad_histories
from model.encoder import Stage, TrainableEncoder
from model.evaluation import (
    Encode,
    Metrics,
    evaluate_lengths,
    evaluate_scores,
    score_by_interests,
)

SELECT_BY = "recall@50"


@torch.no_grad()
def evaluate_encoder(
    encoder: TrainableEncoder,
    sequences: Sequences,
    stage: Stage,
    max_len: int,
    lengths: Floats | None = None,
) -> Metrics:
    """Evaluate an encoder in training on a data set's validation or test part.

    Args:
        encoder: The encoder.
        sequences: The part.
        stage: Which interests.
        max_len: L.
        lengths: What the vector that an item is scored by is multiplied by
            (``model.training.popularity``). Shape (n_items,), float32. None: 1.
    """
    scored_by = encoder.item_embeddings()
    if lengths is not None:
        scored_by = scored_by * torch.from_numpy(lengths).to(scored_by.device).unsqueeze(1)
    score = score_by_interests(_encode(encoder, stage, max_len), scored_by)
    return evaluate_scores(score, len(scored_by), sequences.histories, sequences.targets)


@torch.no_grad()
def evaluate_by_lengths(
    encoder: TrainableEncoder,
    sequences: Sequences,
    stage: Stage,
    max_len: int,
    lengths: Collection[Floats],
) -> list[dict[str, NDArray[np.float64]]]:
    """Measure an encoder in training on each user for several ``lengths``, in one go.

    Returns:
        See ``model.evaluation.evaluate_lengths``.
    """
    vectors = encoder.item_embeddings()
    score = score_by_interests(_encode(encoder, stage, max_len), vectors)
    on_device = [torch.from_numpy(each).to(vectors.device) for each in lengths]
    histories, targets = sequences.histories, sequences.targets
    return evaluate_lengths(score, len(vectors), histories, targets, on_device)


def _encode(encoder: TrainableEncoder, stage: Stage, max_len: int) -> Encode:
    device = encoder.item_table.device

    def encode(histories: Sequence[Rows]) -> Tensor:
        ends = np.cumsum([len(history) for history in histories])
        begins = np.concatenate(([0], ends[:-1]))
        padded = pad_histories(np.concatenate(histories), np.maximum(begins, ends - max_len), ends)
        return encoder.interests(torch.from_numpy(padded).to(device), stage)

    return encode


def merit(metrics: Metrics) -> tuple[float, float]:
    """Return what models are compared by: Recall@50, and of equal ones NDCG@50.

    In a catalog of hardly more than 50 items every model finds all, and the order alone differs.
    """
    return metrics[SELECT_BY], metrics["ndcg@50"]


@torch.no_grad()
def hyper_category_shares(encoder: TrainableEncoder, interactions: Rows) -> list[float]:
    """Return the share of all interactions that each hyper-category holds; [] where none are.

    Args:
        encoder: The encoder.
        interactions: How often each item of the catalog was interacted with.
            Shape (n_items,), int64.
    """
    hyper_categories = encoder.hyper_categories()
    if hyper_categories is None:
        return []
    hyper_category = (encoder.item_embeddings() @ hyper_categories.T).argmax(1).cpu().numpy()
    held = np.bincount(hyper_category, weights=interactions, minlength=len(hyper_categories))
    shares: list[float] = (held / interactions.sum()).tolist()
    return shares
