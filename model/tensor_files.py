"""Safetensors files, memory-mapped: the form of every table and encoder that is served.

A mapped file costs the worker processes of a machine one copy in memory together, not one each.
The format (safetensors.io) is 8 bytes of header length, a JSON header, then the plain arrays; the
library itself copies what it reads, hence the few lines here.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]

# What a damaged file can make the reader raise.
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)

_LENGTH_BYTES = 8
_DTYPES = {"F32": "<f4", "I32": "<i4", "I64": "<i8", "U8": "|u1", "U32": "<u4", "U64": "<u8"}


def map_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Map the arrays of a safetensors file, read-only.

    Returns:
        The arrays by name, and the file's metadata.

    Raises:
        FileNotFoundError: It is not there.
        Exception: One of ``DAMAGE``: it is not a whole safetensors file of known types.
    """
    content: NDArray[np.uint8] = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    start = _LENGTH_BYTES + int(content[:_LENGTH_BYTES].view("<u8")[0])
    if start > len(content):
        raise ValueError("the header is longer than the file")
    header = json.loads(content[_LENGTH_BYTES:start].tobytes())
    tensors: Tensors = {}
    metadata: dict[str, str] = header.pop("__metadata__", {})
    for name, entry in header.items():
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        begin, end = (start + offset for offset in entry["data_offsets"])
        if (
            not start <= begin <= end <= len(content)
            or end - begin != math.prod(entry["shape"]) * dtype.itemsize
        ):
            raise ValueError(f"{name} does not fit the file")
        tensors[name] = content[begin:end].view(dtype).reshape(entry["shape"])
    return tensors, metadata
