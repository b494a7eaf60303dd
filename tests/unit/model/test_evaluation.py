"""The metrics against a loop over users and ranks."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from model import evaluation
from model.evaluation import CUTOFFS, Encode, Metrics, evaluate_scores, score_by_interests

Rows = np.ndarray


def evaluate(
    encode: Encode, item_vectors: Tensor, histories: Sequence[Rows], targets: Sequence[Rows]
) -> Metrics:
    """Average the metrics over users, whose scores are the maximum over their interests."""
    score = score_by_interests(encode, item_vectors)
    return evaluate_scores(score, len(item_vectors), histories, targets)


class Users:
    """Random interests, histories and targets; each history begins with the user's number."""

    def __init__(self, n_users: int, n_items: int, *, k: int = 3, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.interests = random.normal(size=(n_users, k, 5)).astype(np.float32)
        self.item_vectors = random.normal(size=(n_items, 5)).astype(np.float32)
        self.histories: list[Rows] = []
        self.targets: list[Rows] = []
        self._number = {}
        for user in range(n_users):
            order = random.permutation(n_items)
            n_targets = int(random.integers(1, min(30, n_items // 2 + 1)))
            history = random.choice(order[n_targets:], size=int(random.integers(1, 9)))
            self.histories.append(history)
            self.targets.append(order[:n_targets])
            self._number[id(history)] = user
        self.batches: list[int] = []

    def encode(self, histories: Sequence[Rows]) -> Tensor:
        self.batches.append(len(histories))
        numbers = [self._number[id(history)] for history in histories]
        return torch.from_numpy(self.interests[numbers])

    def evaluate(self) -> Metrics:
        vectors = torch.from_numpy(self.item_vectors)
        return evaluate(self.encode, vectors, self.histories, self.targets)

    def slow(self) -> Metrics:
        totals: dict[str, float] = {}
        n_users = len(self.histories)
        for user, (history, targets) in enumerate(zip(self.histories, self.targets, strict=True)):
            scores = (self.interests[user] @ self.item_vectors.T).max(0)
            seen, wanted = set(history.tolist()), set(targets.tolist())
            ranked = [row for row in np.argsort(-scores).tolist() if row not in seen]
            for cutoff in CUTOFFS:
                places = [place for place, row in enumerate(ranked[:cutoff]) if row in wanted]
                gain = sum(1 / math.log2(place + 2) for place in places)
                ideal = sum(1 / math.log2(n + 2) for n in range(min(len(wanted), cutoff)))
                for name, value in (
                    ("recall", len(places) / len(wanted)),
                    ("hitrate", float(bool(places))),
                    ("ndcg", gain / ideal),
                ):
                    key = f"{name}@{cutoff}"
                    totals[key] = totals.get(key, 0.0) + value / n_users
        return {**totals, "users": n_users}


@pytest.mark.parametrize("n_items", [8, 15, 60, 500])
def test_metrics_are_those_of_a_loop(n_items: int) -> None:
    users = Users(40, n_items)

    assert users.evaluate() == pytest.approx(users.slow())


def test_one_interest_is_enough() -> None:
    users = Users(20, 60, k=1)

    assert users.evaluate() == pytest.approx(users.slow())


def test_the_last_users_count_too() -> None:
    users = Users(1024 + 7, 30)

    assert users.evaluate() == pytest.approx(users.slow())
    assert users.batches == [1024, 7]


def test_a_large_catalog_is_scored_in_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users(23, 60)
    whole = users.evaluate()
    monkeypatch.setattr(evaluation, "_MAX_BLOCK", 5 * 60 + 1)
    users.batches.clear()

    assert users.evaluate() == pytest.approx(whole)
    assert users.batches == [5, 5, 5, 5, 3]


def test_a_catalog_beyond_a_block_is_scored_user_by_user(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users(3, 60)
    whole = users.evaluate()
    monkeypatch.setattr(evaluation, "_MAX_BLOCK", 1)
    users.batches.clear()

    assert users.evaluate() == pytest.approx(whole)
    assert users.batches == [1, 1, 1]


def test_whatever_scores_is_measured_the_same_way() -> None:
    users = Users(40, 60)

    def score(histories: Sequence[Rows]) -> Tensor:
        return (users.encode(histories) @ torch.from_numpy(users.item_vectors).T).amax(1)

    measured = evaluate_scores(score, 60, users.histories, users.targets)
    assert measured == pytest.approx(users.slow())


def metrics_of(history: list[int], targets: list[int], scores: list[float]) -> Metrics:
    """Metrics of one user with one interest, whose scores are given."""
    return evaluate(
        lambda _: torch.ones(1, 1, 1),
        torch.tensor(scores).unsqueeze(1),
        [np.array(history)],
        [np.array(targets)],
    )


def test_the_history_is_no_candidate() -> None:
    scores = [float(20 - row) for row in range(20)]

    assert metrics_of([0, 1, 0], [11], scores)["recall@10"] == 1
    assert metrics_of([0], [11], scores)["recall@10"] == 0


def test_an_item_found_by_all_interests_counts_once() -> None:
    # Both interests rank items 0–9 first; were they counted twice, item 9 would be 19th.
    vectors = torch.arange(30, 0, -1.0).unsqueeze(1)
    found = evaluate(lambda _: torch.ones(1, 2, 1), vectors, [np.array([29])], [np.array([9])])

    assert found["recall@10"] == 1
    assert found["ndcg@10"] == pytest.approx(1 / math.log2(11))


def test_exactly_k_items_count() -> None:
    scores = [float(20 - row) for row in range(20)]

    assert metrics_of([19], [9], scores)["hitrate@10"] == 1
    assert metrics_of([19], [10], scores)["hitrate@10"] == 0


def test_the_rest_of_a_small_catalog_is_no_hit() -> None:
    # Three items, one in the history: the top ten has two places; the history stays out of it.
    found = metrics_of([0], [2], [3.0, 2.0, 1.0])

    assert found["recall@200"] == 1
    assert found["ndcg@10"] == pytest.approx(1 / math.log2(3))


def test_a_perfect_ranking_is_one() -> None:
    found = metrics_of([19], [0, 1, 2], [float(20 - row) for row in range(20)])

    assert {value for name, value in found.items() if name != "users"} == {1.0}


def test_no_users_give_no_metrics() -> None:
    assert evaluate(lambda _: torch.ones(1, 1, 1), torch.ones(3, 1), [], []) == {"users": 0}
