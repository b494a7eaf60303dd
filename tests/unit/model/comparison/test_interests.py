"""Measures of interests against loops over users and pairs."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from model.arrays import Floats, Rows
from model.comparison.interests import LIST_LENGTH, measure_interests
from model.inference.encoder import Interests

N_ITEMS = 120


class Encoder:
    """Interests of no history: the number of the first item chooses them."""

    def __init__(self, k: int) -> None:
        random = np.random.default_rng(0)
        self.item_vectors: Floats = random.normal(size=(N_ITEMS, 5)).astype(np.float32)
        self.vectors: Floats = random.normal(size=(N_ITEMS, k, 5)).astype(np.float32)
        self.hyper_categories: Floats | None = None
        self.unit_vectors = False
        self.item_lengths: Floats | None = None
        self.n_interests = k
        self.dim = 5
        self.max_len = 9

    def history_vectors(self, rows: Rows) -> Floats:
        return self.item_vectors[rows]

    def encode(self, history: Rows) -> Interests:
        k = self.n_interests
        counts = np.bincount(history % k, minlength=k)
        assignment = np.eye(k, dtype=np.float32)[history % k]
        return Interests(self.vectors[history[0]], assignment.mean(0), counts, assignment)

    def encode_batch(self, histories: Sequence[Rows]) -> list[Interests]:
        return [self.encode(history) for history in histories]


@pytest.fixture
def histories() -> list[Rows]:
    random = np.random.default_rng(1)
    return [random.permutation(N_ITEMS)[: random.integers(1, 9)] for _ in range(300)]


def test_they_are_those_of_a_loop(histories: list[Rows]) -> None:
    encoder = Encoder(3)
    cosines, overlaps, counts = [], [], np.zeros(3)
    for history in histories:
        vectors, _, of_user, _ = encoder.encode(history)
        counts += of_user
        tops = []
        for vector in vectors:
            scores = encoder.item_vectors @ vector
            scores[history] = -np.inf
            tops.append(set(np.argsort(-scores)[:LIST_LENGTH].tolist()))
        pairs = list(combinations(range(3), 2))
        overlaps.append(
            np.mean([len(tops[a] & tops[b]) / len(tops[a] | tops[b]) for a, b in pairs])
        )
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines.append(np.mean([unit[a] @ unit[b] for a, b in pairs]))

    found = measure_interests(encoder, histories)

    assert found is not None
    assert found.cosine == pytest.approx(np.mean(cosines), abs=1e-5)
    assert found.overlap == pytest.approx(np.mean(overlaps))
    assert found.shares == pytest.approx(counts / counts.sum())


def test_interests_that_are_the_same_have_the_same_lists(histories: list[Rows]) -> None:
    encoder = Encoder(2)
    encoder.vectors[:, 1] = 3 * encoder.vectors[:, 0]

    found = measure_interests(encoder, histories)

    assert found is not None
    assert found.cosine == pytest.approx(1)
    assert found.overlap == 1
    assert found.distinct == 2


def test_copies_of_interests_in_use_are_no_pairs(histories: list[Rows]) -> None:
    encoder, padded = Encoder(2), Encoder(4)
    padded.vectors[:, :2] = encoder.vectors
    padded.vectors[:, 2:] = encoder.vectors[:, :1]  # as MIND serves those not in use
    padded.vectors[histories[0][0], 1:] = encoder.vectors[histories[0][0], 0]
    alone = [history for history in histories if history[0] == histories[0][0]]
    others = [history for history in histories if history[0] != histories[0][0]]

    found = measure_interests(padded, histories)
    without_copies = measure_interests(encoder, others)

    assert found is not None
    assert without_copies is not None
    assert found.cosine == pytest.approx(without_copies.cosine)
    assert found.overlap == pytest.approx(without_copies.overlap)
    assert found.distinct == pytest.approx(2 - len(alone) / len(histories))


def test_where_nobody_has_two_there_are_no_pairs(histories: list[Rows]) -> None:
    encoder = Encoder(3)
    encoder.vectors[:] = encoder.vectors[:, :1]

    found = measure_interests(encoder, histories)

    assert found is not None
    assert found.distinct == 1
    assert np.isnan([found.cosine, found.overlap]).all()


def test_a_single_vector_has_nothing_to_compare(histories: list[Rows]) -> None:
    assert measure_interests(Encoder(1), histories) is None
    assert measure_interests(Encoder(3), []) is None
