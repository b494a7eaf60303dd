import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from index.bundles.answer_changes import compare_answers, overlap, rank_correlation
from index.bundles.build import build_bundle
from index.bundles.bundle import Bundle, open_bundle
from index.bundles.bundle_diff import diff_bundles
from model.run import write_encoder
from tests.bundles import hyper_categories_of, write_run


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle; ``run`` beside it is what it was built from."""
    folder = tmp_path_factory.mktemp("first")
    return open_bundle(build_bundle(write_run(folder / "run"), folder / "bundle").path)


def rebuilt(
    first: Bundle, folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame], rows: list[int]
) -> Bundle:
    """Build the first bundle again of these of its items, its item table changed."""
    run = folder / "run"
    shutil.copytree(first.path.with_name("run"), run)
    change(pl.read_parquet(run / "items.parquet")[rows]).write_parquet(run / "items.parquet")
    tensors = {
        "item_embedding": first.encoder.item_vectors[rows],
        "hyper_category": hyper_categories_of(first.encoder),
    }
    write_encoder(run / "encoder.safetensors", tensors, {"stage": "soft", "temperature": 0.1,
                                                         "max_len": 20})  # fmt: skip
    new_row = {row: place for place, row in enumerate(rows)}
    histories = pl.read_parquet(run / "histories.parquet")["history"].to_list()
    translated = [[new_row[row] for row in history if row in new_row] for history in histories]
    table = pl.DataFrame({"history": translated}, schema={"history": pl.List(pl.Int32)})
    table.write_parquet(run / "histories.parquet")
    return open_bundle(build_bundle(run, folder / "bundle").path)


def same(items: pl.DataFrame) -> pl.DataFrame:
    return items


def test_a_bundle_does_not_differ_from_itself(first: Bundle) -> None:
    found = diff_bundles(first, first)

    assert found.changes == {}
    assert found.items == (300, 300, 0, 0, [], [])
    assert found.answers == (32, 32, 0, 1.0, 1.0, 1.0, 32)


def test_items_are_compared_by_id_not_by_row(first: Bundle, tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(300).tolist()
    second = rebuilt(first, tmp_path, same, shuffled)

    found = diff_bundles(first, second)

    assert found.items.added == found.items.removed == 0
    # Same vectors, same histories: the same answers, although every row is another.
    assert found.answers == (32, 32, 0, 1.0, 1.0, 1.0, 32)


def test_items_that_come_and_go_are_counted_and_named(first: Bundle, tmp_path: Path) -> None:
    def rename(items: pl.DataFrame) -> pl.DataFrame:
        new = pl.Series(["new-a", "new-b"])
        return items.with_columns(
            item_id=pl.concat([items["item_id"][:-2], new]), title=pl.lit("other")
        )

    second = rebuilt(first, tmp_path, rename, list(range(290)))

    items = diff_bundles(first, second).items

    assert (items.before, items.after, items.added, items.removed) == (300, 290, 2, 12)
    assert items.first_added == ["new-a", "new-b"]
    assert items.first_removed == [f"item-{row:04d}" for row in range(288, 298)]


def test_answers_of_histories_with_unknown_items_are_compared_by_the_rest(
    first: Bundle, tmp_path: Path
) -> None:
    second = rebuilt(first, tmp_path, same, list(range(150)))

    answers = compare_answers(first, second)

    # Histories of the second lack the items that it does not have: they are others.
    assert answers.probes > 32
    assert answers.compared >= 60
    assert 20 <= answers.with_unknown_items <= 32
    assert answers.overlap is not None
    assert 0.2 < answers.overlap < 0.8
    assert answers.least_overlap is not None
    assert answers.least_overlap < answers.overlap


def test_bundles_without_a_common_item_have_no_answers_to_compare(
    first: Bundle, tmp_path: Path
) -> None:
    def rename(items: pl.DataFrame) -> pl.DataFrame:
        return items.with_columns(item_id="other-" + pl.col("item_id"))

    found = diff_bundles(first, rebuilt(first, tmp_path, rename, list(range(300))))

    assert (found.items.added, found.items.removed) == (300, 300)
    assert found.answers == (64, 0, 0, None, None, None, 0)


def test_fields_and_metrics_are_set_side_by_side(first: Bundle, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", k=2, dim=8)
    manifest: dict[str, Any] = json.loads((run / "run.json").read_text())
    manifest["metrics"]["test"] |= {"recall@10": 0.15, "map@10": 0.5}
    del manifest["metrics"]["test"]["users"]
    (run / "run.json").write_text(json.dumps(manifest))
    second = open_bundle(build_bundle(run, tmp_path / "bundle", target_recall=0.9).path)

    found = diff_bundles(first, second).to_json()

    assert found["metrics"]["test"]["recall@10"] == {
        "before": 0.1,
        "after": 0.15,
        "difference": pytest.approx(0.05),
    }
    missing = {"before": None, "after": 0.5, "difference": None}
    assert found["metrics"]["test"]["map@10"] == missing
    assert found["metrics"]["test"]["users"]["after"] is None
    assert found["changes"] == {
        "model.hyper_parameters.k": {"before": 4, "after": 2},
        "model.hyper_parameters.dim": {"before": 16, "after": 8},
        "index.target_recall": {"before": 0.95, "after": 0.9},
        "index.bytes_per_item": {
            "before": pytest.approx(64, abs=1),
            "after": pytest.approx(32, abs=1),
        },
        "catalog.dim": {"before": 16, "after": 8},
    }


def test_overlap_is_a_share_of_the_longer_answer() -> None:
    assert overlap(["a", "b", "c", "d"], ["d", "a"]) == 0.5
    assert overlap([], []) == 1.0


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    ids = [f"i{number}" for number in range(100)]
    other = [ids[number] for number in rng.permutation(100)]
    expected = spearmanr(range(100), [other.index(each) for each in ids]).statistic

    assert rank_correlation(ids, other) == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(ids, ids) == 1.0
    assert rank_correlation(ids, ids[::-1]) == -1.0
    assert rank_correlation(["a", "x", "b"], ["y", "b", "a"]) == -1.0
    assert rank_correlation(["a", "b"], ["b", "c"]) is None
