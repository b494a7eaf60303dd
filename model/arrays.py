"""The kinds of array that every module speaks of."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
"""Vectors or scores."""

Rows = NDArray[np.int64]
"""Item rows, 0-based; or other whole numbers, such as positions and counts."""

Mask = NDArray[np.bool_]
"""One truth per item row."""
