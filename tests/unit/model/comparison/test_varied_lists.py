"""Lists chosen for variety against loops over users."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from model.arrays import Floats, Rows
from model.comparison.diversity import measure_lists
from model.comparison.reference import Reference
from model.comparison.varied_lists import DIVERSITIES, measure_varied_lists
from model.data.dataset import Sequences

N_ITEMS = 900
N_USERS = 300

RANDOM = np.random.default_rng(0)
VECTORS: Floats = RANDOM.normal(size=(N_ITEMS, 6)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
TASTES: Floats = RANDOM.normal(size=(N_USERS, 6)).astype(np.float32)
TASTES /= np.linalg.norm(TASTES, axis=1, keepdims=True)
REFERENCE = Reference(
    cooccurrence=sparse.csr_array(VECTORS),
    pmi=sparse.csr_array((N_ITEMS, N_ITEMS)),
    categories=None,
    interactions=np.ones(N_ITEMS, dtype=np.int64),
)


def users() -> Sequences:
    """The first item of a history is the number of its user."""
    histories, targets = [], []
    for user in range(N_USERS):
        others = RANDOM.permutation(np.arange(N_USERS, N_ITEMS))
        histories.append(np.array([user, *others[:5]]))
        targets.append(others[5:15])
    return Sequences(histories, targets)


def score(histories: Sequence[Rows]) -> Tensor:
    numbers = [int(history[0]) for history in histories]
    return torch.from_numpy(TASTES[numbers] @ VECTORS.T)


def list_of(history: Rows, diversity: float) -> list[int]:
    """Maximal marginal relevance, one item after the other."""
    scores = TASTES[history[0]] @ VECTORS.T
    scores[history] = -np.inf
    pool = np.argsort(-scores)[:150].tolist()
    taken: list[int] = []
    while len(taken) < 50:
        worth = {
            item: (1 - diversity) * scores[item]
            - diversity * max((VECTORS[item] @ VECTORS[other] for other in taken), default=0.0)
            for item in pool
            if item not in taken
        }
        taken.append(max(worth, key=worth.__getitem__))
    return taken


def test_they_are_those_of_a_loop() -> None:
    some = users()
    few = Sequences(some.histories[:12], some.targets[:12])

    found = measure_varied_lists(score, VECTORS, few, REFERENCE)

    assert [each["diversity"] for each in found] == list(DIVERSITIES)
    for each in found:
        lists = [list_of(history, each["diversity"]) for history in few.histories]
        hits = [
            len(set(chosen) & set(wanted.tolist())) / len(wanted)
            for chosen, wanted in zip(lists, few.targets, strict=True)
        ]
        expected = measure_lists(np.array(lists, dtype=np.int32), REFERENCE)
        assert each["recall@50"] == pytest.approx(np.mean(hits))
        assert each["ild_cooccurrence@50"] == pytest.approx(expected["ild_cooccurrence@50"])
    assert all(name == "diversity" or name.endswith("@50") for name in found[0])


def test_more_variety_makes_lists_more_diverse() -> None:
    """Users of several blocks; the model's own vectors are what distance is measured by here."""
    found = measure_varied_lists(score, VECTORS, users(), REFERENCE)

    distances = [each["ild_cooccurrence@50"] for each in found]
    assert distances == sorted(set(distances))


def test_a_model_without_vectors_is_measured_as_it_is() -> None:
    some = users()

    (found,) = measure_varied_lists(score, None, some, REFERENCE)

    assert found == measure_varied_lists(score, VECTORS, some, REFERENCE)[0]


def test_a_catalog_smaller_than_a_list_is_used_up() -> None:
    few = Reference(
        sparse.csr_array(VECTORS[:20]),
        sparse.csr_array((20, 20)),
        None,
        np.ones(20, dtype=np.int64),
    )

    def score_few(histories: Sequence[Rows]) -> Tensor:
        return torch.from_numpy(TASTES[: len(histories)] @ VECTORS[:20].T)

    found = measure_varied_lists(
        score_few, VECTORS[:20], Sequences([np.array([0, 1])], [np.array([5])]), few
    )

    assert [each["recall@50"] for each in found] == [1.0] * len(DIVERSITIES)
    assert found[0]["catalog_coverage@50"] == pytest.approx(18 / 20)


def test_without_users_there_is_nothing() -> None:
    assert measure_varied_lists(score, VECTORS, Sequences([], []), REFERENCE) == []
