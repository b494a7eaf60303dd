"""Item vectors whose length says how popular an item is (``model.training.popularity``), in a file.

``item_embedding`` then holds what items are scored by, and ``item_length`` what they were
multiplied by; in a history an item counts without it. The name of the model says it too, so that
programs that do not know of it refuse the file instead of reading histories by other vectors.
"""

from typing import Any

import numpy as np

from model.arrays import Floats, Rows
from model.tensor_files import Tensors

ITEM_EMBEDDING = "item_embedding"
ITEM_LENGTH = "item_length"
_SUFFIX = "+popularity"


def with_lengths(
    tensors: dict[str, Floats], settings: dict[str, Any], lengths: Floats
) -> tuple[dict[str, Floats], dict[str, Any]]:
    """Return the tensors and settings of an encoder with other lengths of item vectors.

    Args:
        tensors: Of the encoder as it was trained.
        settings: Of the same.
        lengths: Above 0. Shape (n_items,), float32.
    """
    scored_by = tensors[ITEM_EMBEDDING] * lengths[:, np.newaxis]
    tensors = {**tensors, ITEM_EMBEDDING: scored_by, ITEM_LENGTH: lengths}
    return tensors, {**settings, "model": settings.get("model", "opal") + _SUFFIX}


def model_of(tensors: Tensors, settings: dict[str, Any]) -> str:
    """Return the name of an encoder's model, without what says that it has lengths.

    Raises:
        ValueError: The name and the tensors do not agree, or the lengths are none.
    """
    said = str(settings.get("model", "opal"))
    lengths = tensors.get(ITEM_LENGTH)
    if said.endswith(_SUFFIX) != (lengths is not None):
        is_there = "missing" if lengths is None else "there"
        raise ValueError(f"model is {said}, but {ITEM_LENGTH} is {is_there}")
    if lengths is not None:
        _check(lengths, tensors, settings)
    return said.removesuffix(_SUFFIX)


def without_lengths(vectors: Floats, lengths: Floats | None, rows: Rows) -> Floats:
    """Return vectors of items as they count in histories.

    Args:
        vectors: As they are scored by. Shape (n, d), float32.
        lengths: Of all items; None: vectors have none of their own. Shape (n_items,), float32.
        rows: The items. Shape (n,), int64.
    """
    if lengths is None:
        return vectors
    result: Floats = vectors / lengths[rows][:, np.newaxis]
    return result


def _check(lengths: Floats, tensors: Tensors, settings: dict[str, Any]) -> None:
    expected = tensors[ITEM_EMBEDDING].shape[:1]
    if lengths.shape != expected or lengths.dtype != np.float32:
        raise ValueError(
            f"{ITEM_LENGTH} is {lengths.dtype} of shape {lengths.shape}, expected float32 of "
            f"{expected}"
        )
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"{ITEM_LENGTH} holds what is no number above 0")
    if settings.get("unit_vectors") is False:
        raise ValueError(f"{ITEM_LENGTH} is there, but unit_vectors is false")
