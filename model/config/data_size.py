"""What a training is told by the size of its data, where no option tells it.

Sparse data know fewer interests apart (arXiv 2407.14741: 4 on its sparser set, else 8).
Self-attention, later cuts and neighbours gain where users are many, and nothing certain, or less
than nothing, where they are few (docs/recipe.md).
"""

from typing import Any

SPARSE_INTERACTIONS = 50_000
_K_OF_SPARSE, _K = 4, 8

MANY_USERS = 10_000


def values_by_size(n_interactions: int, n_users: int) -> dict[str, Any]:
    """Return values of fields of ``TrainingConfig``.

    Args:
        n_interactions: Interactions of the training part.
        n_users: Users of the data.
    """
    are_many = n_users >= MANY_USERS
    return {
        "k": _K_OF_SPARSE if n_interactions <= SPARSE_INTERACTIONS else _K,
        "attention": are_many,
        "cut_draws": 2 if are_many else 1,
        "neighbours": 1.0 if are_many else 0.0,
    }
