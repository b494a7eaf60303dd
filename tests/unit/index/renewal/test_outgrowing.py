"""A catalog that grew out of its index is told, with what to do."""

import json
from pathlib import Path

import pytest

from index.__main__ import main
from index.bundles.build import build_bundle
from index.bundles.manifest import DerivedEntry, read_manifest
from index.renewal.outgrowing import tuned_items
from index.renewal.renewal import Renewed, add_items, remove_items
from tests.bundles import build_small_bundle, item_id, write_run


def grown(base: Path, folder: Path, name: str, count: int) -> Renewed:
    rows = [f"{name}-{number},item-{number % 200:04d}\n" for number in range(count)]
    table = folder / f"{name}.csv"
    table.write_text("item_id,similar_to\n" + "".join(rows))
    return add_items(base, table, folder / name)


def test_a_catalog_that_outgrows_its_index_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_run(tmp_path / "run", n_items=1000, dim=16)
    base = build_bundle(run, tmp_path / "base", kind="IVF4,Flat", target_recall=0.5).path

    first = grown(base, tmp_path, "first", 400)
    less = remove_items(first.path, [item_id(row) for row in range(500, 1000)], tmp_path / "less")
    second = grown(less.path, tmp_path, "second", 600)
    assert (first.warnings, less.warnings, second.warnings) == ([], [], [])
    assert second.manifest.index.tuned_items == 1000

    third = grown(second.path, tmp_path, "third", 1)
    assert third.warnings == [
        "1501 items in an index of kind IVF4,Flat that was built for 1000: searches are slower or "
        "find less than they could; train with the new items and run `python -m index build` again"
    ]
    assert third.warnings[0] in caplog.text
    assert str(third.path) in caplog.text


def test_an_exact_index_that_was_chosen_for_few_items_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = build_bundle(write_run(tmp_path / "run", n_items=4999), tmp_path / "base").path
    few = grown(base, tmp_path, "few", 1)
    assert few.warnings == []

    (tmp_path / "more.csv").write_text("item_id,similar_to\nmore,item-0001\n")
    command = ["add-items", str(tmp_path / "more.csv"), "--bundle", str(few.path), "--json"]
    assert main([*command, "--out", str(tmp_path / "more")]) == 0

    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning.startswith("5001 items in an exact index that was chosen for 4999: above 5000")
    assert "`python -m index build` again" in warning


def test_a_small_exact_index_may_grow(tmp_path: Path) -> None:
    base = build_small_bundle(tmp_path)
    assert grown(base, tmp_path, "new", 300).warnings == []


def test_a_bundle_of_an_earlier_program_was_tuned_for_what_has_been_trained(
    tmp_path: Path,
) -> None:
    manifest = read_manifest(build_small_bundle(tmp_path))
    derived = DerivedEntry(version=manifest.version, added=100)
    catalog = manifest.catalog.model_copy(update={"items": 400, "cold": 100})
    old = manifest.model_copy(update={"derived_from": derived, "catalog": catalog})

    assert tuned_items(old) == 300
