"""Rivals of a few items, for tests: made, laid out as histories, exported, loaded in NumPy."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.arrays import Floats, Rows
from model.data.histories import PADDING, TrainingBatch, sorting_order
from model.inference.encoder import UserEncoder
from model.inference.loading import _MODULES
from model.rivals.cmi import Cmi
from model.rivals.rival import MAIN, Rival

N_ITEMS, DIM, K, MAX_LEN = 50, 12, 4, 10


class AttendingCmi(Cmi):
    """CMI as it is made for logs of many users."""

    def __init__(self, *, max_len: int, **sizes: Any) -> None:
        super().__init__(max_len=max_len, positions=max_len, **sizes)


def new_rival(cls: type[Rival], *, unit_vectors: bool = True, seed: int = 0) -> Rival:
    """Make a rival whose every parameter is away from its start, where some terms do nothing."""
    torch.manual_seed(seed)
    rival = cls(
        n_items=N_ITEMS,
        n_interests=K,
        dim=DIM,
        max_len=MAX_LEN,
        temperature=0.1,
        learn_temperature=True,
        unit_vectors=unit_vectors,
        sparse_gradients=False,
    )
    with torch.no_grad():
        for parameter in rival.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return rival


def ragged(lengths: Sequence[int], seed: int = 0) -> list[Rows]:
    """Draw histories of these lengths."""
    random = np.random.default_rng(seed)
    return [random.integers(N_ITEMS, size=length) for length in lengths]


def batch_of(
    histories: Sequence[Sequence[int]],
    *,
    positives: Sequence[Sequence[int]],
    negatives: Sequence[int],
) -> TrainingBatch:
    """Make a batch that names all items of the catalog; negatives lie in nobody's future."""
    lengths = [len(history) for history in histories]
    rows = np.concatenate(histories)
    return TrainingBatch(
        items=np.arange(N_ITEMS),
        histories=rows,
        lengths=np.array(lengths),
        ages=np.concatenate([np.arange(length)[::-1] for length in lengths]),
        by_item=sorting_order(rows, N_ITEMS),
        positives=np.concatenate(positives),
        owners=np.repeat(range(len(positives)), [len(each) for each in positives]),
        negatives=np.array(negatives),
        log_weights=None,
        own_future=np.zeros((2, 0), dtype=np.int64),
    )


def padded(histories: Sequence[Rows]) -> Tensor:
    """Lay histories into one array as ``Rival.interests`` takes it."""
    rows = [torch.from_numpy(history[-MAX_LEN:]) for history in histories]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)


@torch.no_grad()
def interests(rival: Rival, histories: Sequence[Rows]) -> Floats:
    """Encode with torch. Shape (batch, k, d)."""
    result: Floats = rival.interests(padded(histories), MAIN).numpy()
    return result


def exported(rival: Rival, max_len: int = MAX_LEN) -> tuple[dict[str, Floats], dict[str, Any]]:
    """Return the tensors and settings of a rival's file, copied."""
    tensors, settings = rival.exported(MAIN)
    copies = {name: tensor.copy() for name, tensor in tensors.items()}
    return copies, {**settings, "max_len": max_len}


def load(tensors: dict[str, Floats], settings: dict[str, Any]) -> UserEncoder:
    """Load with the module that belongs to the model."""
    encoder: UserEncoder = import_module(_MODULES[settings["model"]]).load(tensors, settings)
    return encoder
