"""Whether OPAL's encoder can be made of what its file holds."""

import math
from typing import Any

import numpy as np

from model.tensor_files import Tensors

_MAX_WEIGHT = 1e9  # far more, and float32 does not hold the sum


def check_settings(settings: dict[str, Any]) -> None:
    """Look at what else than tensors determines an encoder.

    Raises:
        ValueError: A value is one that nothing can be encoded with.
        KeyError: One is missing.
    """
    stage, max_len, temperature = settings["stage"], settings["max_len"], settings["temperature"]
    if stage not in ("soft", "hard"):
        raise ValueError(f"stage is {stage!r}, expected soft or hard")
    if type(max_len) is not int or max_len < 1:
        raise ValueError(f"max_len is {max_len!r}, expected a whole number from 1")
    if type(temperature) not in (int, float) or not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature!r}, expected a number above 0")
    recency = settings.get("recency", 0.0)
    if type(recency) not in (int, float) or not math.isfinite(recency):
        raise ValueError(f"recency is {recency!r}, expected a finite number")
    for name in ("sharing", "evolution"):
        share = settings.get(name, 0.0)
        if type(share) not in (int, float) or not 0 <= share <= 1:
            raise ValueError(f"{name} is {share!r}, expected a number from 0 to 1")
    weight = settings.get("general", 0.0)
    if type(weight) not in (int, float) or not 0 <= weight <= _MAX_WEIGHT:
        raise ValueError(f"general is {weight!r}, expected a number from 0 to {_MAX_WEIGHT:g}")
    length = settings.get("general_len")
    if length is not None and (type(length) is not int or length < 1):
        raise ValueError(f"general_len is {length!r}, expected a whole number from 1 or null")


def check_shapes(tensors: Tensors, *, is_hard: bool, has_general: bool) -> None:
    """Look at the tensors of an encoder.

    Args:
        tensors: By name, as in the file.
        is_hard: It is of stage 2.
        has_general: It has a general interest.

    Raises:
        ValueError: A tensor is not float32 or does not fit the others.
        KeyError: One is missing.
    """
    items, categories = tensors["item_embedding"], tensors["hyper_category"]
    dim = categories.shape[-1] if categories.ndim else 0
    expected: dict[str, tuple[int, ...]] = {
        "item_embedding": (len(items) if items.ndim else 0, dim),
        "hyper_category": (len(categories) if categories.ndim else 0, dim),
    }
    if is_hard or has_general:
        expected |= {"gru.weight_ih": (3 * dim, dim), "gru.weight_hh": (3 * dim, dim)}
    for head in ["head"] * is_hard + ["general"] * has_general:
        expected |= {f"{head}.weight": (dim, dim), f"{head}.bias": (dim,)}
    for name, shape in expected.items():
        tensor = tensors[name]
        if tensor.dtype != np.float32 or tensor.shape != shape:
            raise ValueError(
                f"{name} is {tensor.dtype} of shape {tensor.shape}, expected float32 of {shape}"
            )
    if categories.size == 0:
        raise ValueError("it has no hyper-category")
