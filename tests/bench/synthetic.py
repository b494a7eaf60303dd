"""What the retrieval and service benchmarks ask, and of what: synthetic bundles and users."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.bundles.build import build_bundle
from tests.bundles import item_id, write_run

DIM = 64
MAX_LEN = 50
TOP_K = 100

Rows = NDArray[np.int64]


def make_bundle(folder: Path, *, n_items: int, k: int, dim: int = DIM) -> Path:
    """Build a bundle of the hard stage, L = 50; the weights are random, the index exact.

    Args:
        folder: Where run and bundle go.
        n_items: Items in the catalog.
        k: Interests per user.
        dim: Length of a vector.

    Returns:
        The bundle's folder.
    """
    name = f"{n_items}-{k}-{dim}"
    run = write_run(
        folder / f"run-{name}",
        n_items=n_items,
        k=k,
        dim=dim,
        stage="hard",
        max_len=MAX_LEN,
        n_histories=100,
    )
    return build_bundle(run, folder / f"bundle-{name}", kind="flat").path


def draw_histories(n_users: int, *, n_items: int, k: int, seed: int = 1) -> list[Rows]:
    """Draw histories of 50 different items, four fifths of them from two of the k clusters.

    Returns:
        Item rows, oldest first; each of shape (50,), int64.
    """
    random = np.random.default_rng(seed)
    cluster = np.arange(n_items) % k  # as tests.bundles makes them
    histories = []
    for _ in range(n_users):
        liked = np.isin(cluster, random.choice(k, size=min(2, k), replace=False))
        share = np.where(liked, 0.8 / liked.sum(), 0.2 / max(1, (~liked).sum()))
        rows = random.choice(n_items, size=MAX_LEN, replace=False, p=share / share.sum())
        histories.append(rows.astype(np.int64))
    return histories


def to_ids(rows: Rows) -> list[str]:
    """Name item rows as ``tests.bundles`` does. Shape (n,), int64."""
    return [item_id(row) for row in rows.tolist()]
