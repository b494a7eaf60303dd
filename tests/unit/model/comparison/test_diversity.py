"""Measures of lists against loops over users and pairs."""

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from model.comparison.diversity import (
    CUTOFFS,
    catalog_coverage,
    category_coverage,
    intra_list_distance,
    mean_log_popularity,
    mean_pairwise_pmi,
    measure_lists,
)
from model.comparison.reference import open_reference
from model.data.dataset import Dataset

N_ITEMS = 40


@pytest.fixture
def lists() -> np.ndarray:
    """Lists of nine; some users have fewer."""
    random = np.random.default_rng(0)
    drawn = np.argsort(random.random((30, N_ITEMS)), axis=1)[:, :9].astype(np.int32)
    drawn[3, 5:] = -1
    drawn[4, 1:] = -1
    return drawn


def rows_of(row: np.ndarray) -> list[int]:
    return [int(item) for item in row if item >= 0]


def test_intra_list_distance_is_that_of_a_loop(lists: np.ndarray) -> None:
    vectors = np.random.default_rng(1).normal(size=(N_ITEMS, 6)).astype(np.float32)
    vectors[::7] = 0  # nothing is known of these
    distances = []
    for row in lists:
        known = [vectors[item] for item in rows_of(row) if vectors[item].any()]
        pairs = [
            1 - float(v @ w / np.linalg.norm(v) / np.linalg.norm(w))
            for v, w in combinations(known, 2)
        ]
        if pairs:
            distances.append(np.mean(pairs))

    found = intra_list_distance(lists, sparse.csr_array(vectors))

    assert found == pytest.approx(np.mean(distances), rel=1e-5)


def test_with_one_category_an_item_it_is_the_share_of_pairs_of_different_ones(
    lists: np.ndarray,
) -> None:
    category = np.arange(N_ITEMS) % 3
    shares = [
        np.mean([category[v] != category[w] for v, w in combinations(rows_of(row), 2)])
        for row in lists
        if len(rows_of(row)) > 1
    ]

    found = intra_list_distance(lists, sparse.csr_array(np.eye(3)[category]))

    assert found == pytest.approx(np.mean(shares))


def test_without_two_known_items_there_is_no_distance(lists: np.ndarray) -> None:
    assert math.isnan(intra_list_distance(lists, sparse.csr_array((N_ITEMS, 4))))


def test_pairwise_pmi_is_that_of_a_loop(lists: np.ndarray) -> None:
    random = np.random.default_rng(2)
    dense = random.random((N_ITEMS, N_ITEMS)) * (random.random((N_ITEMS, N_ITEMS)) < 0.3)
    dense = dense + dense.T
    means = [
        np.mean([dense[v, w] for v, w in combinations(rows_of(row), 2)])
        for row in lists
        if len(rows_of(row)) > 1
    ]

    found = mean_pairwise_pmi(lists, sparse.csr_array(dense.astype(np.float32)))

    assert found == pytest.approx(np.mean(means), rel=1e-5)


def test_category_coverage_is_that_of_a_loop(lists: np.ndarray) -> None:
    has = np.random.default_rng(3).random((N_ITEMS, 11)) < 0.1
    shares = [has[rows_of(row)].any(axis=0).mean() for row in lists]

    assert category_coverage(lists, sparse.csr_array(has.astype(np.float32))) == pytest.approx(
        np.mean(shares)
    )


def test_catalog_coverage_counts_items_in_anybodys_list(lists: np.ndarray) -> None:
    listed = {item for row in lists[:2] for item in rows_of(row)}

    assert catalog_coverage(lists[:2], N_ITEMS) == len(listed) / N_ITEMS


def test_popularity_is_the_mean_logarithm_over_what_is_listed(lists: np.ndarray) -> None:
    interactions = np.arange(1, N_ITEMS + 1)
    logs = [math.log(interactions[item]) for row in lists for item in rows_of(row)]

    assert mean_log_popularity(lists, interactions) == pytest.approx(np.mean(logs))


def test_all_measures_are_of_the_first_k(dataset: Dataset, tmp_path: Path) -> None:
    reference = open_reference(dataset, tmp_path / "reference.npz")
    random = np.random.default_rng(4)
    lists = np.argsort(random.random((20, dataset.n_items)), axis=1)[:, :50].astype(np.int32)

    measures = measure_lists(lists, reference)

    assert len(measures) == 6 * len(CUTOFFS)
    assert reference.categories is not None
    for cutoff in CUTOFFS:
        top = lists[:, :cutoff]
        assert measures[f"pmi@{cutoff}"] == mean_pairwise_pmi(top, reference.pmi)
        assert measures[f"ild_category@{cutoff}"] == intra_list_distance(top, reference.categories)
