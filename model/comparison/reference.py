"""What lists are measured against: item vectors that no compared model made, and popularity.

They come from the data set alone, its training part and its categories, so that no model is
measured by vectors of its own.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.arrays import Rows
from model.comparison.array_files import read_arrays, write_arrays
from model.data.cooccurrence import pmi_vectors, positive_pmi
from model.data.dataset import Dataset

Matrix = Any
"""``scipy.sparse.csr_array`` of float32; SciPy has no types."""

DIM = 64
"""Length of the co-occurrence vectors."""


@dataclass(frozen=True)
class Reference:
    """Fixed properties of a catalog's items.

    Attributes:
        cooccurrence: Unit vectors from training co-occurrence (``model.data.cooccurrence``); 0 of
            an item that co-occurs with nothing. Shape (n_items, DIM).
        pmi: Positive pointwise mutual information of pairs. Shape (n_items, n_items).
        categories: Multi-hot vectors; None: the data have no categories.
            Shape (n_items, n_categories).
        interactions: Of each item, in training. Shape (n_items,), int64.
    """

    cooccurrence: Matrix
    pmi: Matrix
    categories: Matrix | None
    interactions: Rows


def open_reference(dataset: Dataset, path: Path) -> Reference:
    """Read what was made before, or make it; the same data give the same.

    Args:
        dataset: The data.
        path: The file that keeps what takes long.
    """
    of_data = json.dumps(dataset.summary, sort_keys=True)
    arrays = read_arrays(path) if path.exists() else {}
    if not arrays or str(arrays["dataset"]) != of_data:
        arrays = {**_make(dataset), "dataset": np.array(of_data)}
        write_arrays(path, arrays)
    pmi = sparse.csr_array(
        (arrays["pmi.data"], arrays["pmi.indices"], arrays["pmi.indptr"]),
        shape=(dataset.n_items, dataset.n_items),
    )
    vectors = sparse.csr_array(arrays["vectors"])
    interactions = dataset.catalog["interactions"].to_numpy()
    return Reference(vectors, pmi, category_matrix(dataset), interactions)


def _make(dataset: Dataset) -> dict[str, NDArray[Any]]:
    training = (dataset.items, dataset.offsets[:-1], dataset.train_end)
    n_items = dataset.n_items
    # A generator for each: what one draws does not change the other.
    vectors = pmi_vectors(*training, n_items=n_items, dim=DIM, random=np.random.default_rng(0))
    pmi = positive_pmi(*training, n_items=n_items, random=np.random.default_rng(0))
    pmi.sort_indices()  # look-ups by halving
    vectors[pmi.indptr[1:] == pmi.indptr[:-1]] = (
        0  # what nothing is known of has a random direction
    )
    return {
        "vectors": vectors,
        "pmi.data": pmi.data,
        "pmi.indices": pmi.indices,
        "pmi.indptr": pmi.indptr,
    }


def category_matrix(dataset: Dataset) -> Matrix | None:
    """Return items' multi-hot categories; None where no item has one."""
    rows = dataset.catalog.with_row_index("row").explode("category", empty_as_null=True)
    rows = rows.drop_nulls("category").select("row", "category").unique(maintain_order=True)
    if not rows.height:
        return None
    codes = rows["category"].rank("dense").to_numpy().astype(np.int64) - 1
    ones = np.ones(rows.height, dtype=np.float32)
    shape = (dataset.n_items, int(codes.max()) + 1)
    return sparse.csr_array((ones, (rows["row"].to_numpy(), codes)), shape=shape)
