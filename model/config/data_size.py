"""What a training is told by the size of its data, where no option tells it.

Self-attention, later cuts and neighbours gain where users are many, and nothing certain, or less
than nothing, where they are few (docs/recipe.md).
"""

from typing import Any

MANY_USERS = 10_000


def values_by_size(n_users: int) -> dict[str, Any]:
    """Return values of fields of ``TrainingConfig``.

    Args:
        n_users: Users of the data.
    """
    are_many = n_users >= MANY_USERS
    return {
        "attention": are_many,
        "cut_draws": 2 if are_many else 1,
        "neighbours": 1.0 if are_many else 0.0,
    }
