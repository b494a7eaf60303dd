"""Which kind of index a catalog gets, and at which operating point: measured, not guessed."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from index.bundles.tuning import Interests, Point, choose, explore, know_exactly
from index.kinds.implementations import build_index
from index.kinds.kinds import AUTO, AUTO_FLAT_ITEMS, AUTO_KINDS, FLAT, named_kinds
from index.kinds.tunable_index import TunableIndex
from model.arrays import Floats
from model.errors import InputError

_WORTH_IT = 0.9
"""An approximate index takes at most this share of the exact one's time, or ``auto`` is flat."""

_logger = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """An index at its operating point, and how it was found.

    Attributes:
        item_index: The index.
        point: Where it operates; None where nothing was measured (a small catalog).
        curve: Operating points that no other one beats, ascending in recall.
        flat_milliseconds: Time of the exact search beside it; None where nothing was measured.
    """

    item_index: TunableIndex
    point: Point | None
    curve: list[Point]
    flat_milliseconds: float | None


def choose_index(
    item_vectors: Floats,
    interests: Floats,
    *,
    kind: str,
    target_recall: float,
    memory: int | None = None,
    threads: int = 1,
) -> Chosen:
    """Build and tune an index.

    Args:
        item_vectors: Shape (n_items, d), float32.
        interests: Of real users, to tune on. Shape (u, k, d), float32.
        kind: ``auto``, a name of ``index.kinds.kinds``, or a Faiss factory string.
        target_recall: Share of each interest's exact top 100 that must be found, 0 to 1.
        memory: Bytes that the index may take; None: as many as it likes. For ``auto`` only.
        threads: OpenMP threads of the building; times are always those of one.

    Raises:
        InputError: Nothing keeps the promise within the memory, or the kind cannot be built.
    """
    n_items, dim = item_vectors.shape
    if kind == AUTO and n_items <= AUTO_FLAT_ITEMS and _fits(FLAT, n_items, dim, memory):
        kind = FLAT
    if kind == FLAT:
        flat = build_index(item_vectors, kind=FLAT, threads=threads)
        return Chosen(flat, None, [], None)
    truth = know_exactly(item_vectors, interests)
    _logger.info("exact search of one user's interests: %.3g ms", truth.flat_milliseconds)
    if kind != AUTO:
        chosen = _tuned(kind, item_vectors, truth, target_recall, threads)
        if chosen.point is None:
            best = chosen.curve[-1].recall if chosen.curve else 0.0
            raise InputError(
                f"--kind {kind}: finds {best:.3f} of the exact answers at most, --recall promises "
                f"{target_recall}; take --kind {FLAT} or a lower --recall"
            )
        return chosen
    return _choose_among(item_vectors, truth, target_recall, memory, threads)


def _choose_among(
    item_vectors: Floats, truth: Interests, target_recall: float, memory: int | None, threads: int
) -> Chosen:
    """Take the first kind that fits the memory and keeps the promise; flat where that is fast."""
    n_items, dim = item_vectors.shape
    fitting = [kind for kind in AUTO_KINDS if _fits(kind, n_items, dim, memory)]
    flat_fits = _fits(FLAT, n_items, dim, memory)
    for kind in fitting:
        try:
            chosen = _tuned(kind, item_vectors, truth, target_recall, threads)
        except InputError as error:  # too few vectors for its codes, say
            _logger.info("%s", error)
            continue
        if chosen.point is None:
            continue
        if flat_fits and chosen.point.milliseconds > _WORTH_IT * truth.flat_milliseconds:
            break
        return chosen
    if not flat_fits:
        raise InputError(
            f"--memory: no kind of index for {n_items} items of {dim} dimensions keeps --recall "
            f"{target_recall} in {memory or 0:,} bytes; allow more, or promise less "
            f"({_sizes(fitting or AUTO_KINDS, n_items, dim)})"
        )
    _logger.info("nothing is faster than exact search here: %s", FLAT)
    flat = build_index(item_vectors, kind=FLAT, threads=threads)
    point = Point({}, 1.0, truth.flat_milliseconds)
    return Chosen(flat, point, [point], truth.flat_milliseconds)


def _tuned(
    kind: str, item_vectors: Floats, truth: Interests, target_recall: float, threads: int
) -> Chosen:
    """Build a kind and set it to the fastest point that keeps the promise, where there is one."""
    item_index = build_index(item_vectors, kind=kind, threads=threads)
    curve = explore(item_index, item_vectors, truth, target=target_recall)
    for each in curve:
        _logger.info(
            "%s %s: recall@100 %.4f in %.3g ms (%.1f × exact)",
            kind,
            " ".join(f"{name}={value:g}" for name, value in each.parameters.items()),
            each.recall,
            each.milliseconds,
            truth.flat_milliseconds / each.milliseconds,
        )
    point = choose(curve, target_recall)
    if point is not None:
        item_index.operate_at(point.parameters)
    return Chosen(item_index, point, curve, truth.flat_milliseconds)


def _fits(kind: str, n_items: int, dim: int, memory: int | None) -> bool:
    return memory is None or named_kinds(n_items, dim)[kind].bytes_per_item * n_items <= memory


def _sizes(kinds: Sequence[str], n_items: int, dim: int) -> str:
    named = named_kinds(n_items, dim)
    return ", ".join(
        f"{kind} takes about {named[kind].bytes_per_item * n_items:,.0f}" for kind in kinds
    )
