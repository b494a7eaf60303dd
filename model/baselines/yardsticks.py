"""Which yardsticks a data set allows, and how far they get on it: what OPAL is shown beside."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from model.baselines.ease import MAX_ITEMS, ease_gigabytes, ease_seconds, require_fit
from model.baselines.fitting import fit_baseline
from model.baselines.itemknn import count_pairs
from model.baselines.matrix import training_matrix
from model.baselines.measuring import measure_parts
from model.baselines.names import YARDSTICKS
from model.data.dataset import Dataset
from model.errors import InputError

AUTO_EASE_ITEMS = 12_000
"""EASE takes some 20 s of one core there, and grows with the cube."""

AUTO_PAIRS = 3 * 10**8
"""Item-kNN with its choice takes a minute or two there, and grows in proportion."""

logger = logging.getLogger(__name__)


class Choice(NamedTuple):
    """Which yardsticks to measure.

    Attributes:
        names: In the order of ``YARDSTICKS``.
        left_out: Why another one is not, by name; those that nobody wanted are not here.
    """

    names: tuple[str, ...]
    left_out: dict[str, str]


def choose_yardsticks(dataset: Dataset, wanted: Sequence[str] | None = None) -> Choice:
    """Choose yardsticks: those wanted, or those that cost little next to a training.

    Args:
        dataset: What they would be made from.
        wanted: Names; None: choose by their cost, which follows from the data alone.

    Raises:
        InputError: EASE is wanted, and the catalog is too large for it.
    """
    if wanted is not None:
        if "ease" in wanted:
            require_fit(dataset.n_items)
        return Choice(tuple(name for name in YARDSTICKS if name in wanted), {})
    left_out = _too_expensive(dataset)
    return Choice(tuple(name for name in YARDSTICKS if name not in left_out), left_out)


def measure_yardsticks(dataset: Dataset, choice: Choice) -> dict[str, Any]:
    """Make yardsticks and measure them.

    One that fails is left out: the training that it stands beside is done and must not be lost.

    Returns:
        For ``run.json``: ``yardsticks``, metrics by name, then by part (``valid``, ``test``), and
        ``yardsticks_left_out``, reasons by name.
    """
    measured, left_out = {}, dict(choice.left_out)
    for name in choice.names:
        logger.info("Yardstick %s", name)
        try:
            measured[name] = measure_parts(fit_baseline(name, dataset), dataset)
        except InputError as error:
            left_out[name] = str(error)
        except MemoryError:
            left_out[name] = "this machine has too little memory for it"
    return {"yardsticks": measured, "yardsticks_left_out": left_out}


def _too_expensive(dataset: Dataset) -> dict[str, str]:
    remedy = "; --yardsticks pop,itemknn,ease measures all"
    reasons = {}
    n_pairs = count_pairs(training_matrix(dataset))
    if n_pairs > AUTO_PAIRS:
        reasons["itemknn"] = f"{n_pairs:.1e} pairs of items take it minutes{remedy}"
    n_items = dataset.n_items
    if n_items > MAX_ITEMS:
        reasons["ease"] = (
            f"its matrix for {n_items} items would take {ease_gigabytes(n_items):.1f} GB; "
            f"it is limited to {MAX_ITEMS} items"
        )
    elif n_items > AUTO_EASE_ITEMS:
        reasons["ease"] = (
            f"{n_items} items take it {ease_seconds(n_items):.0f} s of one core and "
            f"{ease_gigabytes(n_items):.1f} GB{remedy}"
        )
    return reasons
