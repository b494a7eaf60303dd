"""A training batch as the rivals read it: tensors, and histories padded to one length."""

from typing import NamedTuple

import torch
from torch import Tensor

from model.arrays import Floats, Rows
from model.data.histories import TrainingBatch
from model.encoder import TrainableEncoder
from model.layers.padded import PaddedHistories, pad


class RivalBatch(NamedTuple):
    """A training batch as tensors; see ``TrainingBatch``.

    Attributes:
        histories: Shape (B, length, d) and so on.
        positives: Vectors of the positives, user after user, in the order of time.
            Shape (P, d), float32.
        owners: The user of each positive, ascending. Shape (P,), int64.
        negatives: Shape (N, d), float32.
        log_weights: Of the negatives; None: 0. Shape (N,), float32.
        own_future: User and negative of each negative in that user's future. Shape (2, n), int64.
        items: Vectors of the batch's distinct items. Shape (U, d), float32.
        rows: The histories' interactions as rows of ``items``, one history after the other, oldest
            first. Shape (n_interactions,), int64.
        negative_rows: The negatives as rows of ``items``. Shape (N,), int64.
        positive_rows: The positives as rows of ``items``. Shape (P,), int64.
        catalog_rows: Of ``items``: their rows of the catalog. Shape (U,), int64.
    """

    histories: PaddedHistories
    positives: Tensor
    owners: Tensor
    negatives: Tensor
    log_weights: Tensor | None
    own_future: Tensor
    items: Tensor
    rows: Tensor
    negative_rows: Tensor
    positive_rows: Tensor
    catalog_rows: Tensor


def read_batch(batch: TrainingBatch, encoder: TrainableEncoder) -> RivalBatch:
    """Bring a batch to where an encoder's weights are, with the vectors of its items.

    Args:
        batch: The batch.
        encoder: Whose vectors; its loss is to reach them.
    """
    device = encoder.item_table.device

    def tensor(array: Rows | Floats) -> Tensor:
        return torch.from_numpy(array).to(device)

    catalog_rows, rows = tensor(batch.items), tensor(batch.histories)
    vectors = encoder.embed(catalog_rows)
    positive_rows, negative_rows = tensor(batch.positives), tensor(batch.negatives)
    return RivalBatch(
        histories=pad(vectors, rows, tensor(batch.lengths), tensor(batch.ages)),
        positives=vectors.index_select(0, positive_rows),
        owners=tensor(batch.owners),
        negatives=vectors.index_select(0, negative_rows),
        log_weights=None if batch.log_weights is None else tensor(batch.log_weights),
        own_future=tensor(batch.own_future),
        items=vectors,
        rows=rows,
        negative_rows=negative_rows,
        positive_rows=positive_rows,
        catalog_rows=catalog_rows,
    )
