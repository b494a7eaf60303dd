"""Several arrays in one file, replaced atomically."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.files import replace_file


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Replace an ``.npz`` file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    replace_file(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an ``.npz`` file."""
    # Opened here, because NumPy leaves a damaged file open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
