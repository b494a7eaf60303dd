"""Reads tensors and settings of an encoder's file, and names what does not fit."""

from typing import Any

import numpy as np

from model.arrays import Floats
from model.tensor_files import Tensors


def read_count(settings: dict[str, Any], name: str) -> int:
    """Read a setting that is a whole number from 1.

    Raises:
        ValueError: It is missing or something else.
    """
    value = settings.get(name)
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} is {value!r}, expected a whole number from 1")
    return value


def read_tensor(tensors: Tensors, name: str, shape: tuple[int | None, ...]) -> Floats:
    """Read a tensor that is to be float32 and of a shape.

    Args:
        tensors: By name.
        name: Of the one to read.
        shape: What is expected; None: any number from 1.

    Raises:
        ValueError: It is missing or of another type or shape.
    """
    if name not in tensors:
        raise ValueError(f"{name} is missing")
    tensor = tensors[name]
    fits = len(shape) == tensor.ndim and all(
        have == want or (want is None and have > 0)
        for have, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits or tensor.dtype != np.float32:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"{name} is {tensor.dtype} of shape {tensor.shape}, expected float32 of ({expected})"
        )
    return tensor


def read_by_age(tensors: Tensors, name: str, width: int | None, max_len: int) -> Floats:
    """Read a table with a row for each age of an interaction, from 0 for the newest.

    Args:
        tensors: By name.
        name: Of the table.
        width: Of a row; None: any.
        max_len: How many ages are wanted; the table may know more.

    Returns:
        The rows of one history of as many interactions, oldest first.
        Shape (max_len, width), float32.

    Raises:
        ValueError: It is missing, of another type or shape, or too short.
    """
    table = read_tensor(tensors, name, (None, width))
    if len(table) < max_len:
        raise ValueError(f"{name} has {len(table)} rows, expected {max_len} or more")
    return np.ascontiguousarray(table[:max_len][::-1])
