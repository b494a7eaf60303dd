"""Why an item is a candidate: the items of the history that speak for it.

An interest is the normalised sum of a_tj e_t over the history, so the interaction at t contributes
a_tj (e_t · e_v) to what interest j thinks of item v (up to the length of the sum, and to what the
hard stage adds).
"""

from typing import Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from index.bundle import Bundle
from index.merging import Candidates
from model.arrays import Rows
from model.inference import Interests
from service.answers import HistoryItem, Reason

DECIMALS = 6
"""Decimals of every number: more than float32 holds would be noise, and bytes."""

REASONS = 3
"""Most items of the history that are named for an interest or a candidate."""


class ItemFields(TypedDict):
    """How an item is shown: by id, and by title where it has one."""

    item_id: str
    title: NotRequired[str]


def item_fields(bundle: Bundle, rows: Rows) -> list[ItemFields]:
    """Show items by id and title.

    Args:
        bundle: Whose catalog names them.
        rows: Item rows. Shape (n,), int64.
    """
    catalog = bundle.catalog
    return [
        {"item_id": item_id} if title is None else {"item_id": item_id, "title": title}
        for item_id, title in zip(catalog.ids_of(rows), catalog.titles_of(rows), strict=True)
    ]


class Explainer:
    """Explains the candidates of one user.

    An item that occurs several times in the history is named once, with all that it contributes.

    Args:
        bundle: The bundle that encoded the history.
        history: Known item rows, oldest first. Shape (length,), int64.
        interests: What the encoder made of it.
    """

    def __init__(self, bundle: Bundle, history: Rows, interests: Interests) -> None:
        self._vectors = bundle.encoder.item_vectors
        used = history[len(history) - len(interests.assignment) :]
        self._rows, first, occurrence = np.unique(used, return_index=True, return_inverse=True)
        self._fields = item_fields(bundle, self._rows)
        self._count = np.bincount(occurrence).astype(np.float32)
        # a_tj depends on the item alone, so that any occurrence will do. Shape (n_rows, k)
        self._assignment = interests.assignment[first]

    def strongest_items(self, interest: int) -> list[HistoryItem]:
        """Return the items of the history that belong to an interest most, strongest first."""
        weights = self._assignment[:, interest]
        strongest: list[int] = _largest(weights[np.newaxis])[0].tolist()
        return [
            {**self._fields[place], "weight": round(float(weights[place]), DECIMALS)}
            for place in strongest
        ]

    def reasons(self, candidates: Candidates) -> list[list[Reason]]:
        """Return for each candidate the items of the history that speak for it, best first."""
        # One small product per candidate, in float64: a single large one would round by its
        # shape, and the same candidate would get another number in a longer answer.
        ours = self._vectors[self._rows].astype(np.float64)
        theirs = self._vectors[candidates.rows].astype(np.float64)
        similarity = np.matmul(theirs[:, np.newaxis, :], ours.T)[:, 0, :]
        share = (self._assignment * self._count[:, np.newaxis])[:, candidates.interests].T
        contribution = share * similarity
        best = _largest(contribution)
        places: list[list[int]] = best.tolist()
        values: list[list[float]] = np.take_along_axis(contribution, best, axis=1).tolist()
        return [
            [
                {**self._fields[place], "contribution": round(value, DECIMALS)}
                for place, value in zip(*each, strict=True)
                if value > 0
            ]
            for each in zip(places, values, strict=True)
        ]


def _largest(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Positions of the largest values of each row, largest first, ties by item row.

    Args:
        values: Shape (n, n_rows), float32 or float64.

    Returns:
        Shape (n, at most REASONS), int64.
    """
    return np.argsort(-values, axis=1, kind="stable")[:, :REASONS]
