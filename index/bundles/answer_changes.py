"""How much the answers of two bundles differ, on the histories of their probes.

Each history is asked of both bundles as the service would ask it: by item id, unknown items left
out, the history itself not wanted back, searched with the bundle's own index.
"""

from typing import Any, NamedTuple

import numpy as np

from index.bundles.bundle import Bundle
from index.bundles.probes import TOP, open_probes
from index.search.item_index import NO_ROW
from index.search.retrieval import retrieve


class AnswerChanges(NamedTuple):
    """How much answers differ; None where nothing could be compared.

    Attributes:
        probes: Different histories among both bundles' probes.
        compared: Those of which each bundle knows an item.
        with_unknown_items: Those compared of which one bundle does not know every item.
        overlap: Share of the 100 candidates that are in both answers; mean over probes.
        least_overlap: That of the probe whose answer changes most.
        rank_correlation: Spearman's, of the candidates in both answers; mean over probes.
        ranked: Probes with at least two such candidates, over which that mean is taken.
    """

    probes: int
    compared: int
    with_unknown_items: int
    overlap: float | None
    least_overlap: float | None
    rank_correlation: float | None
    ranked: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "probes": self.probes,
            "compared": self.compared,
            "with_unknown_items": self.with_unknown_items,
            f"overlap@{TOP}": self.overlap,
            f"least_overlap@{TOP}": self.least_overlap,
            "rank_correlation": self.rank_correlation,
            "ranked": self.ranked,
        }


def compare_answers(before: Bundle, after: Bundle) -> AnswerChanges:
    """Ask two bundles the probes of both."""
    # By item id, and each once: bundles of the same data set have the same probes.
    histories = list(dict.fromkeys([*_histories(before), *_histories(after)]))
    overlaps, correlations = [], []
    partly = 0
    for history in histories:
        answers = [_answer(bundle, history) for bundle in (before, after)]
        first, second = (answer.item_ids for answer in answers)
        if not all(answer.known for answer in answers):
            continue
        partly += any(answer.known < len(history) for answer in answers)
        overlaps.append(overlap(first, second))
        correlations.append(rank_correlation(first, second))
    ranked = [each for each in correlations if each is not None]
    return AnswerChanges(
        probes=len(histories),
        compared=len(overlaps),
        with_unknown_items=partly,
        overlap=float(np.mean(overlaps)) if overlaps else None,
        least_overlap=min(overlaps, default=None),
        rank_correlation=float(np.mean(ranked)) if ranked else None,
        ranked=len(ranked),
    )


def overlap(first: list[str], second: list[str]) -> float:
    """Share of the longer answer that is in both; two empty answers are the same."""
    longest = max(len(first), len(second))
    return len(set(first) & set(second)) / longest if longest else 1.0


def rank_correlation(first: list[str], second: list[str]) -> float | None:
    """Spearman's rank correlation of what is in both answers: 1 same order, −1 turned around.

    Returns:
        The correlation; None where fewer than two are in both.
    """
    places = {item_id: place for place, item_id in enumerate(second)}
    common = [places[item_id] for item_id in first if item_id in places]
    n = len(common)
    if n < 2:  # noqa: PLR2004
        return None
    # Ranks among the common ones: 0…n-1 in the first answer, and these in the second.
    ranks = np.argsort(np.argsort(common))
    apart = (ranks - np.arange(n)).astype(np.float64)
    return float(1 - 6 * (apart @ apart) / (n * (n * n - 1)))


class _Answer(NamedTuple):
    known: int
    item_ids: list[str]


def _histories(bundle: Bundle) -> list[tuple[str, ...]]:
    """Return the probes' histories as item ids."""
    probes = open_probes(bundle.path)
    return [
        tuple(bundle.catalog.ids_of(probes.history(probe))) for probe in range(len(probes.lengths))
    ]


def _answer(bundle: Bundle, history: tuple[str, ...]) -> _Answer:
    rows = bundle.catalog.rows_of(history)
    known = rows[rows != NO_ROW]
    if len(known) == 0:
        return _Answer(0, [])
    interests = bundle.encoder.encode(known).vectors
    found = retrieve(bundle.item_index, interests, TOP, excluded=known)
    return _Answer(len(known), bundle.catalog.ids_of(found.rows))
