"""A run's folder: what is written is read back, and damage is named."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model.data.items import ITEM_SCHEMA
from model.errors import InputError
from model.inference.loading import load_encoder
from model.run import (
    CHECKPOINTS,
    MAX_HISTORIES,
    describe_run,
    git_revision,
    read_finished_run,
    read_run,
    read_run_manifest,
    require_free,
    write_encoder,
    write_run,
)

CATALOG = pl.DataFrame(
    {
        "item_id": ["b", "a"],
        "title": ["B", None],
        "category": [["x"], []],
        "url": [None, "http://a"],
        "interactions": [3, 1],
    },
    schema={**ITEM_SCHEMA, "interactions": pl.Int64},
)


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    histories = [np.array([1, 0, 1]), np.array([0])]
    write_run(tmp_path, manifest={"stage": "soft"}, catalog=CATALOG, histories=histories)
    return tmp_path


def test_a_run_comes_back_as_it_was(run_path: Path) -> None:
    run = read_run(run_path)

    assert run.items.equals(CATALOG)
    assert [rows.tolist() for rows in run.histories] == [[1, 0, 1], [0]]
    assert all(rows.dtype == np.int64 for rows in run.histories)
    assert run.manifest == {
        "format_version": 1,
        "git_revision": git_revision(),
        "stage": "soft",
    }
    assert run.encoder_path == run_path / "encoder.safetensors"


def test_a_run_keeps_a_bounded_number_of_histories(tmp_path: Path) -> None:
    histories = [np.array([number % 2]) for number in range(MAX_HISTORIES + 5)]
    write_run(tmp_path, manifest={}, catalog=CATALOG, histories=histories)

    assert len(read_run(tmp_path).histories) == MAX_HISTORIES == 1000


def test_a_run_without_histories_is_one(tmp_path: Path) -> None:
    write_run(tmp_path, manifest={}, catalog=CATALOG, histories=[])

    assert read_run(tmp_path).histories == []


def test_a_folder_without_manifest_is_no_finished_run(run_path: Path) -> None:
    (run_path / "run.json").unlink()

    with pytest.raises(InputError, match=r"no finished run \(run\.json is missing\)"):
        read_run(run_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", "\xff"])
def test_a_damaged_manifest_is_named(run_path: Path, content: str) -> None:
    (run_path / "run.json").write_bytes(content.encode("latin-1"))

    with pytest.raises(InputError, match=r"run\.json: cannot be read"):
        read_run_manifest(run_path)


@pytest.mark.parametrize("version", [None, 0, 2])
def test_another_format_version_is_refused(run_path: Path, version: int | None) -> None:
    (run_path / "run.json").write_text(json.dumps({"format_version": version}))

    with pytest.raises(InputError, match=f"run format {version}, this program reads 1"):
        read_run(run_path)


@pytest.mark.parametrize("name", ["items.parquet", "histories.parquet"])
def test_a_damaged_or_missing_table_is_named(run_path: Path, name: str) -> None:
    (run_path / name).write_bytes(b"PAR1")
    with pytest.raises(InputError, match="the run is damaged"):
        read_run(run_path)
    (run_path / name).unlink()
    with pytest.raises(InputError, match="the run is damaged"):
        read_run(run_path)


def test_where_there_is_no_git_there_is_no_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    assert git_revision() is None


def test_an_encoder_comes_back_as_it_was_whatever_its_memory_order(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    config = {"stage": "soft", "temperature": 0.1, "max_len": 5}
    # Column-major, as a transposed matrix is.
    tensors = {"item_embedding": np.asfortranarray(vectors), "hyper_category": vectors[::2]}
    write_encoder(tmp_path / "encoder.safetensors", tensors, config)

    encoder = load_encoder(tmp_path / "encoder.safetensors")

    np.testing.assert_array_equal(encoder.item_vectors, vectors)
    np.testing.assert_array_equal(encoder.hyper_categories, vectors[::2])


def test_every_run_says_what_it_is_of(tmp_path: Path) -> None:
    told = describe_run("opal", tmp_path / "data", {"users": 3})

    assert told.pop("created").endswith("+00:00")
    assert told == {
        "model": "opal",
        "dataset": {"name": "data", "path": str((tmp_path / "data").resolve()), "users": 3},
    }


def test_a_finished_run_of_another_model_is_another_run(tmp_path: Path) -> None:
    manifest = {"model": "pop", "dataset": {"name": "log", "users": 3}}
    write_run(tmp_path, manifest=manifest, catalog=CATALOG, histories=[])

    assert read_finished_run(tmp_path, "pop", {"users": 3}) == read_run_manifest(tmp_path)
    with pytest.raises(InputError, match="holds a finished run of pop, not of opal; choose"):
        read_finished_run(tmp_path, "opal", {"users": 3})
    with pytest.raises(InputError, match="finished on another data set; choose another --out"):
        read_finished_run(tmp_path, "pop", {"users": 4})


def test_only_an_unfinished_training_may_be_gone_on_with(run_path: Path, tmp_path: Path) -> None:
    for resume in (False, True):
        with pytest.raises(InputError, match="holds a finished run already"):
            require_free(run_path, resume=resume)
        require_free(tmp_path / "new", resume=resume)
    (run_path / "run.json").unlink()
    (run_path / CHECKPOINTS).mkdir()
    require_free(run_path, resume=True)
    with pytest.raises(InputError, match="holds an unfinished training; pass --resume"):
        require_free(run_path, resume=False)
