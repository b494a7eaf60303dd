"""How much popularity counts in scores: an item's vector is as long as its popularity to a power.

The score of an item is then z · e_v · (n_v / n_max)^β, with n_v its training interactions: still
one plain inner product of d numbers. Where items have few interactions each, what training knows of
the rarest is mostly chance, and a β above 0 lets them count less, as shrinkage does in a
neighbourhood. Training cannot find β by its own loss, which the chance of its own interactions
pleases; validation can (docs/recipe.md). A training on everything (``model.training.refit``) keeps
the n_v of the training part, by which β was found.

Pure NumPy.
"""

import numpy as np

from model.arrays import Floats, Rows

EXPONENTS = (0.0, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.4)
"""Those that validation chooses from. 0: popularity does not count."""


def popularity_lengths(interactions: Rows, exponent: float) -> Floats:
    """Return how long each item's vector is: 1 for the most popular, less for the others.

    Args:
        interactions: n_v, training interactions of each item. Shape (n_items,), int64.
        exponent: β, at least 0.

    Returns:
        Shape (n_items,), float32.
    """
    counted = np.maximum(interactions, 1).astype(np.float64)
    lengths: Floats = ((counted / counted.max()) ** exponent).astype(np.float32)
    return lengths
