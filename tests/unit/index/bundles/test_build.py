import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from index.bundles.build import build_bundle
from index.bundles.bundle import open_bundle
from model.errors import InputError
from tests.bundles import Stage, clustered_vectors, item_id, write_random_encoder, write_run
from tests.optional import SCANN

RNG = np.random.default_rng(0)


def replace_encoder(run: Path, vectors: np.typing.NDArray[np.float32], dim: int = 16) -> None:
    hyper_categories = clustered_vectors(8, dim, 4, RNG)[1]
    write_random_encoder(run, vectors, hyper_categories, stage="soft", max_len=20, rng=RNG)


def assert_nothing_left(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == ["run"]


@pytest.mark.parametrize("stage", ["soft", "hard"])
@pytest.mark.parametrize("kind", ["auto", "flat", "HNSW32", SCANN])
def test_a_run_becomes_a_bundle_that_opens(stage: Stage, kind: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", stage=stage)

    built = build_bundle(run, tmp_path / "deep" / "bundle", kind=kind, target_recall=0.9)

    bundle = open_bundle(built.path)
    trained = json.loads((run / "run.json").read_text())
    assert bundle.manifest == built.manifest
    assert bundle.manifest.metrics.model_dump() == trained["metrics"]
    expected = {name: value for name, value in trained["dataset"].items() if name != "path"}
    assert bundle.manifest.dataset == expected
    assert bundle.manifest.model.hyper_parameters == trained["hyper_parameters"]
    assert bundle.item_index.kind == ("flat" if kind == "auto" else kind)
    assert bundle.catalog.ids_of(np.array([0, 299])) == [item_id(0), item_id(299)]


def test_building_twice_gives_the_same_files(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")

    first = build_bundle(run, tmp_path / "a").manifest
    second = build_bundle(run, tmp_path / "b").manifest

    assert first.files == second.files


@pytest.mark.parametrize("n_items", [1, 2, 5])
def test_a_tiny_catalog_becomes_a_bundle(n_items: int, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_items=n_items, k=1, n_histories=0)

    assert open_bundle(build_bundle(run, tmp_path / "bundle").path).catalog.n_items == n_items


def test_what_exists_is_never_replaced(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    out = tmp_path / "bundle"
    before = build_bundle(run, out).manifest

    with pytest.raises(InputError, match="bundle: exists already"):
        build_bundle(run, out)

    assert open_bundle(out).manifest == before


def test_a_promise_that_is_not_kept_builds_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")

    with pytest.raises(InputError, match=r"--kind PQ4x4: finds 0\.\d+ of the exact answers"):
        build_bundle(run, tmp_path / "bundle", kind="PQ4x4", target_recall=0.99)

    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    vectors = clustered_vectors(300, 16, 4, RNG)[0]
    vectors[[17, 40], 3] = value
    replace_encoder(run, vectors)

    with pytest.raises(
        InputError, match=r"2 item vectors are NaN or infinite \(first: item row 17\)"
    ):
        build_bundle(run, tmp_path / "bundle")

    assert_nothing_left(tmp_path)


def test_vectors_too_long_to_be_compared_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    replace_encoder(run, clustered_vectors(300, 16, 4, RNG)[0] * np.float32(1e20))

    with pytest.raises(InputError, match=r"an item vector holds .*e\+.*, expected at most 1e\+06"):
        build_bundle(run, tmp_path / "bundle")

    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(("n_items", "dim"), [(299, 16), (300, 15)])
def test_sizes_that_do_not_fit_are_refused(n_items: int, dim: int, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    replace_encoder(run, clustered_vectors(n_items, dim, 4, RNG)[0])

    with pytest.raises(InputError, match=r"shape .* expected .*\((300|300, 15|299), 16\)"):
        build_bundle(run, tmp_path / "bundle")


def test_an_empty_catalog_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_histories=0)
    pl.read_parquet(run / "items.parquet").head(0).write_parquet(run / "items.parquet")
    replace_encoder(run, np.empty((0, 16), dtype=np.float32))

    with pytest.raises(InputError, match="catalog is empty"):
        build_bundle(run, tmp_path / "bundle")


def test_a_repeated_item_id_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    items = pl.read_parquet(run / "items.parquet")
    items[5, "item_id"] = "item-0004"
    items.write_parquet(run / "items.parquet")

    with pytest.raises(InputError, match=r"items\.parquet: item_id 'item-0004' occurs twice"):
        build_bundle(run, tmp_path / "bundle")


def test_a_missing_item_id_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    items = pl.read_parquet(run / "items.parquet")
    items[5, "item_id"] = None
    items.write_parquet(run / "items.parquet")

    with pytest.raises(InputError, match="an item_id is missing"):
        build_bundle(run, tmp_path / "bundle")


@pytest.mark.parametrize("row", [-1, 300])
def test_histories_outside_the_catalog_are_refused(row: int, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    table = pl.DataFrame({"history": [[1, row]]}, schema={"history": pl.List(pl.Int32)})
    table.write_parquet(run / "histories.parquet")

    with pytest.raises(InputError, match=r"histories\.parquet: an item row is outside 0…299"):
        build_bundle(run, tmp_path / "bundle")


def test_an_encoder_whose_parts_do_not_fit_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", stage="hard")
    tensors = load_file(run / "encoder.safetensors")
    tensors["head.weight"] = np.zeros((3, 3), dtype=np.float32)
    config = {"stage": "hard", "temperature": 0.1, "max_len": 20}
    save_file(tensors, run / "encoder.safetensors", metadata={"encoder": json.dumps(config)})

    with pytest.raises(
        InputError, match=r"encoder\.safetensors: .*head\.weight is float32 of shape \(3, 3\)"
    ):
        build_bundle(run, tmp_path / "bundle")

    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("field", ["model", "stage", "metrics", "dataset"])
def test_a_field_that_a_run_lacks_is_named(field: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    del manifest[field]
    (run / "run.json").write_text(json.dumps(manifest))

    with pytest.raises(InputError, match=rf"run\.json: field {field} is missing"):
        build_bundle(run, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        ({"metrics": []}, r"metrics is \[\], expected an object"),
        ({"metrics": {"test": []}}, r"metrics\.test is \[\], expected an object"),
        ({"dataset": []}, r"dataset is \[\], expected an object"),
        ({"hyper_parameters": []}, r"hyper_parameters is \[\], expected an object"),
        ({"model": 5}, "model is 5, expected text"),
        ({"git_revision": 5}, "git_revision is 5, expected text or null"),
        ({"curve": {}}, "curve is {}, expected a list"),
        ({"curve": [7]}, r"curve\.0 is 7, expected an object"),
        ({"yardsticks": []}, r"yardsticks is \[\], expected an object"),
        ({"yardsticks": {"pop": 1}}, r"yardsticks\.pop is 1, expected an object"),
        ({"yardsticks": {"pop": {"test": 1}}}, r"yardsticks\.pop\.test is 1, expected an object"),
        (
            {"yardsticks": {"pop": {"test": {"recall@10": "x"}}}},
            r"yardsticks\.pop\.test\.recall@10 is 'x', expected a number",
        ),
        ({"yardsticks_left_out": []}, r"yardsticks_left_out is \[\], expected an object"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(
    edit: dict[str, object], problem: str, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, **edit}))

    with pytest.raises(InputError, match=rf"run/run\.json: {problem}"):
        build_bundle(run, tmp_path / "bundle")
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("name", ["pop", "itemknn", "ease"])
def test_a_yardstick_cannot_be_served(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "encoder.safetensors").unlink()
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "model": name}))

    with pytest.raises(
        InputError, match=rf"run: a run of {name}, a yardstick, which has no encoder and cannot be"
    ):
        build_bundle(run, tmp_path / "bundle")
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("column", ["item_id", "title", "category", "interactions"])
def test_a_column_of_the_wrong_kind_is_named(column: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    items = pl.read_parquet(run / "items.parquet").with_columns(pl.lit(1.5).alias(column))
    items.write_parquet(run / "items.parquet")

    with pytest.raises(InputError, match=rf"items\.parquet: column {column} is Float64, expected"):
        build_bundle(run, tmp_path / "bundle")


@pytest.mark.parametrize(
    "histories",
    [["a"], [["a"]], [[None]], [None], [[1], None], [1], [[1.5]]],
    ids=str,
)
def test_histories_of_another_kind_are_refused(histories: list[object], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    pl.DataFrame({"history": histories}).write_parquet(run / "histories.parquet")

    with pytest.raises(InputError, match=r"histories\.parquet: (column history is|an item row)"):
        build_bundle(run, tmp_path / "bundle")


def test_a_metric_that_is_no_number_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    manifest["metrics"]["test"]["note"] = 5 * "x"
    (run / "run.json").write_text(json.dumps(manifest))

    with pytest.raises(InputError, match=r"run\.json: metrics\.test\.note is 'xxxxx'"):
        build_bundle(run, tmp_path / "bundle")

    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("column", ["item_id", "title", "category", "url", "interactions"])
def test_a_column_that_a_run_lacks_is_named(column: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    pl.read_parquet(run / "items.parquet").drop(column).write_parquet(run / "items.parquet")

    with pytest.raises(InputError, match=rf"items\.parquet: column {column} is missing"):
        build_bundle(run, tmp_path / "bundle")


@pytest.mark.parametrize(
    "name", ["run.json", "encoder.safetensors", "items.parquet", "histories.parquet"]
)
def test_a_damaged_run_is_refused(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / name).write_bytes(b"damaged")

    with pytest.raises(InputError, match="run"):
        build_bundle(run, tmp_path / "bundle")

    assert_nothing_left(tmp_path)


def test_the_promise_holds_on_users_that_were_not_tuned_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_items=3000, n_histories=60)

    # Low recalls vary most from user to user.
    for number, target in enumerate((0.3, 0.5, 0.7, 0.9)):
        out = tmp_path / f"bundle-{number}"
        index = build_bundle(run, out, kind="ivf-sq", target_recall=target).manifest.index

        assert index.measured_recall >= target
        assert index.parameters in [point.parameters for point in index.curve]
        assert open_bundle(out).item_index.parameters == index.parameters


def test_building_makes_the_index_that_was_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_items=3000)

    manifest = build_bundle(run, tmp_path / "bundle", kind="ivf-pq", target_recall=0.6).manifest

    assert manifest.index.kind == "ivf-pq"
    assert set(manifest.index.parameters) == {"nprobe", "rescoring"}
    assert manifest.index.bytes_per_item is not None
    assert manifest.index.bytes_per_item < 40
    assert manifest.index.flat_milliseconds is not None
    report = (tmp_path / "bundle" / "report.html").read_text()
    assert "recall@100 by milliseconds for one user" in report
    assert "rescoring" in report
