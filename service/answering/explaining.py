"""Why an item is a candidate: the items of the history that speak for it.

OPAL's interest is the normalised sum of a_tj e_t over the history, so the interaction at t
contributes a_tj (e_t · e_v) to what interest j thinks of item v (up to the length of the sum, and
to what the hard stage adds; e_v is what v is scored by). Of another model a_tj is the share that
the interest has of the interaction, and the same product tells as much as can be told without
looking into the model.
"""

from typing import Any, NamedTuple, NotRequired

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from index.bundles.bundle import Bundle
from index.search.merging import Candidates
from model.arrays import Floats, Rows
from model.inference.encoder import Interests
from service.api.answers import Reason

DECIMALS = 6
"""Decimals of every number: more than float32 holds would be noise, and bytes."""

REASONS = 3
"""Most items of the history that are named for an interest or a candidate."""


class ItemFields(TypedDict):
    """How an item is shown: by id, and by title where it has one."""

    item_id: str
    title: NotRequired[str]


class Strongest(NamedTuple):
    """The items of the history that belong to each interest most, strongest first.

    Attributes:
        rows: Item rows. Shape (k, at most REASONS), int64.
        weights: Their share in the interest, the mean over their occurrences. The same shape,
            float32.
    """

    rows: Rows
    weights: Floats


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
        self._bundle = bundle
        used = history[len(history) - len(interests.assignment) :]
        by_row = np.argsort(used, kind="stable")
        rows = used[by_row]
        firsts = np.flatnonzero(np.concatenate(([True], rows[1:] != rows[:-1])))
        self._rows = rows[firsts]
        # In float64 equal a_tj of n occurrences, as OPAL's are, add up to n a_tj without rounding.
        assignment = interests.assignment[by_row].astype(np.float64)
        self._total = np.add.reduceat(assignment, firsts, axis=0)
        self._counts = np.diff(firsts, append=len(used))

    def strongest(self) -> Strongest:
        """Return the items of the history that belong to each interest most."""
        weights = (self._total / self._counts[:, np.newaxis]).astype(np.float32).T
        places = _largest(weights)
        return Strongest(self._rows[places], np.take_along_axis(weights, places, axis=1))

    def reasons(self, candidates: Candidates) -> list[list[Reason]]:
        """Return for each candidate the items of the history that speak for it, best first."""
        # One small product per candidate, in float64: a single large one would round by its
        # shape, and the same candidate would get another number in a longer answer.
        ours = self._bundle.encoder.history_vectors(self._rows).astype(np.float64)
        theirs = self._bundle.encoder.item_vectors[candidates.rows].astype(np.float64)
        similarity = np.matmul(theirs[:, np.newaxis, :], ours.T)[:, 0, :]
        share = self._total.astype(np.float32)[:, candidates.interests].T
        contribution = share * similarity
        best = _largest(contribution)
        fields = item_fields(self._bundle, self._rows)
        places: list[list[int]] = best.tolist()
        values: list[list[float]] = np.take_along_axis(contribution, best, axis=1).tolist()
        return [
            [
                {**fields[place], "contribution": round(value, DECIMALS)}
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
