"""Probes: real histories with their exact answers, to check a bundle by what it does.

Checksums show that a bundle is as it was built; probes show that encoder, index and this
program's version of both still give the answers that were right when it was built.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.search.direct import search_directly
from index.search.exact import ExactItemIndex, exact_scores
from index.search.item_index import ItemIndex
from index.search.merging import Candidates
from index.search.retrieval import Wish, retrieve, retrieve_together
from index.tensor_files import open_tensors, write_tensors
from model.arrays import Floats, Rows
from model.errors import BundleError
from model.inference.encoder import UserEncoder

PROBE_FILE = "probe.safetensors"
N_PROBES = 32
TOP = 100
PADDING = -1

INTEREST_TOLERANCE = 1e-4
"""Other machines' matrix products round differently; interests further apart are wrong.

Of vectors that hold numbers above 1, as those of any length do, it is that share of the largest.
"""

_ALL_SCORED = 50_000
_ASKED_TOGETHER = 4

SCORE_TOLERANCE = 1e-5
"""An item so near to the exact cut counts as found: which of them is kept is rounding.

Of scores above 1 it is that share (``score_tolerance``).
"""


class Probes(NamedTuple):
    """Histories and what a right bundle makes of them.

    Attributes:
        histories: Item rows, oldest first, padded at the end. Shape (p, length), int32.
        lengths: Shape (p,), int32.
        interests: Shape (p, k, d), float32.
        rows: Exact answer, nothing excluded. Shape (p, top), int64; top = min(100, n_items).
        scores: Shape (p, top), float32.
    """

    histories: NDArray[np.int32]
    lengths: NDArray[np.int32]
    interests: Floats
    rows: Rows
    scores: Floats

    def history(self, probe: int) -> Rows:
        """Return one history without padding. Shape (length,), int64."""
        return self.histories[probe, : self.lengths[probe]].astype(np.int64)


def make_probes(encoder: UserEncoder, histories: Sequence[Rows]) -> Probes:
    """Encode the first histories and answer them exactly.

    Args:
        encoder: The trained encoder.
        histories: Real users' histories, each of shape (length,), int64. Without any, single
            items stand in.
    """
    n_items = len(encoder.item_vectors)
    chosen = [each[-encoder.max_len :] for each in histories if len(each)][:N_PROBES]
    chosen = chosen or [np.array([row]) for row in range(min(n_items, N_PROBES))]
    lengths = np.array([len(each) for each in chosen], dtype=np.int32)
    padded = np.full((len(chosen), lengths.max()), PADDING, dtype=np.int32)
    for probe, history in enumerate(chosen):
        padded[probe, : len(history)] = history
    encoded = encoder.encode_batch([each.astype(np.int64) for each in chosen])
    interests = np.stack([each.vectors for each in encoded])
    answers = [_answer_exactly(encoder.item_vectors, each) for each in interests]
    return Probes(
        histories=padded,
        lengths=lengths,
        interests=interests,
        rows=np.stack([each.rows for each in answers]),
        scores=np.stack([each.scores for each in answers]),
    )


def _answer_exactly(item_vectors: Floats, interests: Floats) -> Candidates:
    """Return the exact top 100 of one user's interests.

    Args:
        item_vectors: Shape (n_items, d), float32.
        interests: Shape (k, d), float32.
    """
    top = min(TOP, len(item_vectors))
    nothing = np.empty(0, dtype=np.int64)
    if len(item_vectors) <= _ALL_SCORED:
        return retrieve(ExactItemIndex(item_vectors), interests, top, excluded=nothing)
    # Double precision over a large catalog takes seconds; it only has to settle what is near.
    near = np.unique(search_directly(item_vectors, interests, 2 * top, None).rows)
    found = retrieve(ExactItemIndex(item_vectors[near]), interests, top, excluded=nothing)
    return found._replace(rows=near[found.rows])


def write_probes(folder: Path, probes: Probes) -> None:
    """Write ``probe.safetensors``."""
    write_tensors(folder / PROBE_FILE, probes._asdict())


def open_probes(folder: Path) -> Probes:
    """Open ``probe.safetensors``.

    Raises:
        BundleError: The file is missing or damaged.
    """
    path = folder / PROBE_FILE
    try:
        probes = Probes(**open_tensors(path))
        _check_probe_shapes(probes)
    except (TypeError, ValueError) as error:
        raise BundleError(f"{path}: not a file of probes ({error}); build it again") from error
    return probes


def _check_probe_shapes(probes: Probes) -> None:
    """Raise ValueError where the arrays do not belong together, or there is no probe."""
    dimensions = {"histories": 2, "lengths": 1, "interests": 3, "rows": 2, "scores": 2}
    for name, array in probes._asdict().items():
        if array.ndim != dimensions[name] or len(array) != len(probes.lengths):
            raise ValueError(f"{name} have shape {array.shape}, {len(probes.lengths)} probes")
        if array.dtype.kind != ("f" if name in ("interests", "scores") else "i"):
            raise ValueError(f"{name} are {array.dtype}")
    if probes.rows.size == 0 or probes.rows.shape != probes.scores.shape:
        raise ValueError("it holds no probe with answers")
    if not 0 <= probes.lengths.min() <= probes.lengths.max() <= probes.histories.shape[1]:
        raise ValueError("lengths lie outside the histories")


def score_tolerance(scores: Floats) -> float:
    """Return how far below a cut among these scores an item still counts as found."""
    return SCORE_TOLERANCE * _size(scores)


def _size(numbers: Floats) -> float:
    """Return the largest of some numbers, sign aside, and at least 1."""
    return max(1.0, float(np.abs(numbers).max()))


def measure_recall(
    item_index: ItemIndex,
    item_vectors: Floats,
    probes: Probes,
    *,
    rest: Callable[[], None] = lambda: None,
) -> float:
    """Share of the exact top 100 that an index finds, over all probes.

    Args:
        item_index: What to measure.
        item_vectors: Shape (n_items, d), float32.
        probes: Interests and exact answers.
        rest: Called after every few of them.

    Returns:
        Recall, 0 to 1.
    """
    wishes = [Wish(interests, probes.rows.shape[1]) for interests in probes.interests]
    answers = []
    for first in range(0, len(wishes), _ASKED_TOGETHER):
        answers += retrieve_together(item_index, wishes[first : first + _ASKED_TOGETHER])
        rest()
    hits = 0
    for answer, interests, scores in zip(answers, probes.interests, probes.scores, strict=True):
        found = item_vectors[answer.rows]
        best = np.max([exact_scores(found, interest) for interest in interests], axis=0)
        hits += int(np.count_nonzero(best >= scores[-1] - score_tolerance(scores)))
    return hits / probes.rows.size


def check_probes(
    encoder: UserEncoder,
    item_index: ItemIndex,
    probes: Probes,
    target_recall: float,
    *,
    rest: Callable[[], None] = lambda: None,
) -> float:
    """Ask an opened bundle the probes.

    Args:
        encoder: What it opened.
        item_index: The same.
        probes: Histories, and the answers at building.
        target_recall: What its manifest promises.
        rest: Called after every few probes.

    Returns:
        The measured recall.

    Raises:
        BundleError: Interests or answers are not what they were when the bundle was built.
    """
    for probe, expected in enumerate(probes.interests):
        try:
            vectors = encoder.encode(probes.history(probe)).vectors
            apart = float(np.abs(vectors - expected).max()) / _size(expected)
        except (IndexError, ValueError) as error:
            raise BundleError(
                f"{PROBE_FILE}: the encoder fails on probe {probe}: {error}"
            ) from error
        if not apart <= INTEREST_TOLERANCE:
            raise BundleError(
                f"{PROBE_FILE}: the encoder's interests for probe {probe} differ by {apart:.2g} "
                f"from those at building (tolerance {INTEREST_TOLERANCE}); build the bundle again"
            )
        rest()
    recall = measure_recall(item_index, encoder.item_vectors, probes, rest=rest)
    if recall < target_recall:
        raise BundleError(
            f"{PROBE_FILE}: the index finds {recall:.3f} of the exact answers, the manifest "
            f"promises {target_recall}; build the bundle again"
        )
    return recall
