"""Safetensors files written whole and opened memory-mapped: the form of every table in a bundle.

A mapped file costs the worker processes of a machine one copy in memory together, not one each.
The format (safetensors.io) is 8 bytes of header length, a JSON header, then the plain arrays; the
library itself copies what it reads, hence the few lines here.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from model.errors import BundleError

Tensors = dict[str, NDArray[Any]]

_LENGTH_BYTES = 8
_DTYPES = {"F32": "<f4", "I32": "<i4", "I64": "<i8", "U8": "|u1", "U32": "<u4", "U64": "<u8"}


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write named arrays to a safetensors file."""
    write_bytes(path, save({name: np.ascontiguousarray(each) for name, each in tensors.items()}))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file; an error (a full disk) names it, which Python's own does not."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content; an error (a full disk) names the copy."""
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error


def open_tensors(path: Path) -> Tensors:
    """Map the arrays of a safetensors file, read-only.

    Raises:
        BundleError: The file is missing or not a whole safetensors file of known types.
    """
    try:
        return _mapped(path)
    except FileNotFoundError:
        raise BundleError(f"{path}: is missing; build the bundle again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: damaged ({error}); build the bundle again") from error


def _mapped(path: Path) -> Tensors:
    """Map a file; raises a variety of errors when it is not what it should be."""
    content: NDArray[np.uint8] = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    start = _LENGTH_BYTES + int(content[:_LENGTH_BYTES].view("<u8")[0])
    if start > len(content):
        raise ValueError("the header is longer than the file")
    header = json.loads(content[_LENGTH_BYTES:start].tobytes())
    tensors: Tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        begin, end = (start + offset for offset in entry["data_offsets"])
        if (
            not start <= begin <= end <= len(content)
            or end - begin != math.prod(entry["shape"]) * dtype.itemsize
        ):
            raise ValueError(f"{name} does not fit the file")
        tensors[name] = content[begin:end].view(dtype).reshape(entry["shape"])
    return tensors
