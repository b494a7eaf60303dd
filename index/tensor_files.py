"""The tables of a bundle: safetensors files written whole and opened memory-mapped."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from model.errors import BundleError
from model.tensor_files import DAMAGE, Tensors, map_tensors


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
        return map_tensors(path)[0]
    except FileNotFoundError:
        raise BundleError(f"{path}: is missing; build the bundle again") from None
    except DAMAGE as error:
        raise BundleError(f"{path}: damaged ({error}); build the bundle again") from error
