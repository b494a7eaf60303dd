"""Make a yardstick by its name, from a data set's training part."""

import logging
import math
import time
from typing import Any, NamedTuple

from model.baselines.baseline import Baseline
from model.baselines.ease import DEFAULT_L2, Ease
from model.baselines.itemknn import ItemKnn, count_pairs
from model.baselines.matrix import training_matrix
from model.baselines.measuring import measure
from model.baselines.popular import Popular
from model.data.dataset import Dataset, Sequences
from model.data.user_items import Matrix
from model.errors import InputError

CHOOSE_BY = "recall@50"
CHOICE_USERS = 10_000

# With all neighbours, item-kNN keeps up to as many similarities as it counts pairs: 2 GiB here.
MAX_PAIRS_WITH_ALL = 2**28

logger = logging.getLogger(__name__)


class _Setting(NamedTuple):
    """A candidate of item-kNN."""

    shrinkage: float
    neighbours: int | None


_SETTINGS = [
    _Setting(shrinkage, count) for shrinkage in (0.0, 20.0, 100.0) for count in (None, 200)
]


def fit_baseline(
    name: str, dataset: Dataset, hyper_parameters: dict[str, Any] | None = None
) -> Baseline:
    """Make a yardstick.

    Args:
        name: One of ``YARDSTICKS``.
        dataset: Its training part is learned from.
        hyper_parameters: What the yardstick told before, or None for its own. Those of item-kNN
            are chosen by the validation part.

    Raises:
        InputError: The data do not allow it, or a hyper-parameter is out of its range.
    """
    started = time.monotonic()
    baseline = _make(name, dataset, hyper_parameters)
    settings = [f"{key} {value}" for key, value in baseline.hyper_parameters.items()]
    logger.info("%s fitted in %.1f s", ", ".join([name, *settings]), time.monotonic() - started)
    return baseline


def _make(name: str, dataset: Dataset, hyper_parameters: dict[str, Any] | None) -> Baseline:
    if name == "pop":
        return Popular(dataset.catalog["interactions"].to_numpy())
    matrix = training_matrix(dataset)
    if name == "ease":
        l2 = _number(hyper_parameters or {"l2": DEFAULT_L2}, "l2")
        return Ease(matrix, l2=l2)
    if hyper_parameters is None:
        return choose_item_knn(matrix, dataset.valid)
    all_of_them = hyper_parameters.get("neighbours", 0) is None
    return ItemKnn(
        matrix,
        shrinkage=_number(hyper_parameters, "shrinkage"),
        neighbours=None if all_of_them else int(_number(hyper_parameters, "neighbours")),
    )


def _number(hyper_parameters: dict[str, Any], name: str) -> float:
    value = hyper_parameters.get(name)
    if not isinstance(value, int | float):
        raise InputError(f"hyper_parameters.{name} is {value!r}, expected a number; train again")
    return value


def choose_item_knn(matrix: Matrix, valid: Sequences) -> ItemKnn:
    """Make the item-kNN with the best validation Recall@50 of a few.

    Which one that is differs by the data: on dense logs it is the plain cosine, which on sparse
    ones finds a third less than with shrinkage (docs/results.md).

    Args:
        matrix: Of ones. Shape (n_users, n_items).
        valid: Validation users, of whom ``CHOICE_USERS`` at most are asked, evenly spread.
    """
    step = max(1, math.ceil(len(valid.histories) / CHOICE_USERS))
    asked = Sequences(valid.histories[::step], valid.targets[::step])
    all_fit = count_pairs(matrix) <= MAX_PAIRS_WITH_ALL

    def recall(setting: _Setting) -> float:
        candidate = ItemKnn(matrix, **setting._asdict())
        return measure(candidate, matrix.shape[1], asked)[CHOOSE_BY]

    possible = [setting for setting in _SETTINGS if all_fit or setting.neighbours]
    if not asked.histories:
        logger.warning("no user has a validation target to choose item-kNN's settings by")
        return ItemKnn(matrix, **possible[0]._asdict())
    return ItemKnn(matrix, **max(possible, key=recall)._asdict())
