"""What lists are measured against: made once for a data set, from its training part alone."""

import math
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model.comparison.reference import category_matrix, open_reference
from model.data.dataset import Dataset


def test_pmi_is_that_of_a_loop_over_training_users(dataset: Dataset, tmp_path: Path) -> None:
    together: Counter[tuple[int, int]] = Counter()
    for user in range(dataset.n_users):
        items = set(dataset.items[dataset.offsets[user] : dataset.train_end[user]].tolist())
        for pair in combinations(sorted(items), 2):
            together[pair] += 1
    of_item: Counter[int] = Counter()
    for (first, second), count in together.items():
        of_item[first] += count
        of_item[second] += count
    total = sum(of_item.values())

    pmi = open_reference(dataset, tmp_path / "reference.npz").pmi.toarray()

    for (first, second), count in list(together.items())[:200]:
        value = math.log(count * total / (of_item[first] * of_item[second]))
        assert pmi[first, second] == pytest.approx(max(0, value), abs=1e-5)
    assert pmi[0, 0] == 0


def test_it_is_made_once(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    made = open_reference(dataset, path)
    before = path.stat().st_mtime_ns

    read = open_reference(dataset, path)

    assert path.stat().st_mtime_ns == before
    assert (read.cooccurrence != made.cooccurrence).nnz == 0
    assert (read.pmi != made.pmi).nnz == 0


def test_it_is_made_anew_for_other_data(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    other = replace(
        dataset,
        summary={**dataset.summary, "created": "another day"},
        items=np.flip(dataset.items).copy(),
    )
    before = open_reference(other, path)

    assert (open_reference(dataset, path).pmi != before.pmi).nnz > 0


def test_an_item_that_cooccurs_with_nothing_has_no_vector(dataset: Dataset, tmp_path: Path) -> None:
    items = np.where(dataset.items == 7, 8, dataset.items)
    without = replace(dataset, items=items)

    vectors = open_reference(without, tmp_path / "reference.npz").cooccurrence.toarray()

    assert not vectors[7].any()
    assert np.linalg.norm(vectors[8]) == pytest.approx(1, abs=1e-5)


def test_categories_are_multi_hot(dataset: Dataset) -> None:
    catalog = dataset.catalog.head(4).with_columns(
        pl.Series("category", [["b", "a", "b"], [], ["a"], None], dtype=pl.List(pl.String))
    )

    matrix = category_matrix(replace(dataset, catalog=catalog))

    assert matrix is not None
    assert matrix.toarray().tolist() == [[1, 1], [0, 0], [1, 0], [0, 0]]


def test_without_categories_there_is_no_matrix(dataset: Dataset) -> None:
    none = pl.lit([], dtype=pl.List(pl.String))
    catalog = dataset.catalog.with_columns(none.alias("category"))

    assert category_matrix(replace(dataset, catalog=catalog)) is None
