"""Which cells there are, and what is refused before any of them runs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.comparison.cell import CELL_FILE, restore_cell
from model.comparison.plan import ALL_OTHERS, Plan, Request, make_plan, require_targets
from model.data.dataset import prepare
from model.errors import InputError
from tests import comparisons
from tests.planted import PlantedLog


@pytest.fixture(scope="module")
def other_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    interactions, _ = PlantedLog(n_users=30, items_per_category=10, length=10).write(folder)
    prepare(interactions, folder / "other", split="user")
    return folder / "other"


def request(
    dataset_path: Path,
    out: Path,
    models: Sequence[str] = ("opal", "sasrec", "pop"),
    **changes: Any,
) -> Request:
    return comparisons.request(dataset_path, out, *models, **{"options": {"dim": 16}, **changes})


def folders(plan: Plan, out: Path) -> list[str]:
    return [str(cell.folder.relative_to(out)) for cell in plan.cells]


def test_a_cell_for_each_model_and_seed_and_one_for_a_yardstick(
    dataset_path: Path, tmp_path: Path
) -> None:
    plan = make_plan(request(dataset_path, tmp_path))

    assert folders(plan, tmp_path) == [
        "dataset/default/opal/main/seed-0",
        "dataset/default/opal/main/seed-1",
        "dataset/default/sasrec/main/seed-0",
        "dataset/default/sasrec/main/seed-1",
        "dataset/yardsticks/pop",
    ]
    config = plan.cells[1].config
    assert config is not None
    assert (config.model, config.seed, config.dim) == ("opal", 1, 16)


def test_seeds_can_be_said_for_each_data_set(
    dataset_path: Path, other_path: Path, tmp_path: Path
) -> None:
    wanted = request(
        dataset_path,
        tmp_path,
        datasets=[dataset_path, other_path],
        models=("opal",),
        seeds={ALL_OTHERS: 3, "other": 1},
    )

    seeds = [(cell.dataset.name, cell.seed) for cell in make_plan(wanted).cells]

    assert seeds == [("dataset", 0), ("dataset", 1), ("dataset", 2), ("other", 0)]


def test_recipes_have_tables_of_their_own_and_share_the_yardsticks(
    dataset_path: Path, tmp_path: Path
) -> None:
    plan = make_plan(request(dataset_path, tmp_path, recipes=("default", "paper")))

    assert len(plan.cells) == 2 * 2 * 2 + 1
    models = [line.model for line in plan.main("dataset", "paper")]
    assert models == ["opal", "sasrec", "pop"]


def test_the_k_that_a_model_has_anyway_is_not_trained_twice(
    dataset_path: Path, tmp_path: Path
) -> None:
    plan = make_plan(request(dataset_path, tmp_path, ks=(2, 8)))  # 8 is the default

    studied = [line for line in plan.lines if line.variant.name.startswith("k-")]
    assert [(line.model, line.variant.name) for line in studied] == [
        ("opal", "k-2"),
        ("opal", "k-8"),
    ]
    assert {cell.variant.name for cell in studied[1].cells} == {"main"}
    assert not any("k-8" in folder for folder in folders(plan, tmp_path))


def test_studies_can_be_of_some_models_and_data_sets(
    dataset_path: Path, other_path: Path, tmp_path: Path
) -> None:
    wanted = request(
        dataset_path,
        tmp_path,
        datasets=[dataset_path, other_path],
        models=("opal", "mind"),
        ks=(2,),
        k_models=("mind",),
        ablations=True,
        studied=("other",),
    )

    studied = [line for line in make_plan(wanted).lines if line.variant.name != "main"]

    assert {line.dataset for line in studied} == {"other"}
    assert [line.model for line in studied if line.variant.name == "k-2"] == ["mind"]
    with pytest.raises(InputError, match="--study names no data set: yelp"):
        make_plan(replace(wanted, studied=("yelp",)))


def test_main_tables_come_first(dataset_path: Path, tmp_path: Path) -> None:
    plan = make_plan(request(dataset_path, tmp_path, ks=(2,), ablations=True))

    is_main = [cell.variant.name == "main" for cell in plan.cells]
    assert is_main == sorted(is_main, reverse=True)


def test_what_the_recipe_does_not_do_is_not_taken_from_it(
    dataset_path: Path, tmp_path: Path
) -> None:
    wanted = request(
        dataset_path, tmp_path, ablations=True, options={"dim": 16, "history_dropout": 0.0}
    )

    names = {line.variant.name for line in make_plan(wanted).lines}

    assert "no-averaging" in names
    assert "no-history-dropout" not in names


def test_ease_is_left_out_of_a_catalog_too_large_for_it(dataset_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "large"
    copy.mkdir()
    summary = json.loads((dataset_path / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**summary, "items": 100_000}))

    plan = make_plan(request(copy, tmp_path / "out", models=("ease",)))

    assert plan.cells == []
    ((name, model, reason),) = plan.left_out
    assert (name, model) == ("large", "ease")
    assert "100000" in reason


def test_cells_are_described_and_restored(dataset_path: Path, tmp_path: Path) -> None:
    wanted = request(dataset_path, tmp_path, ablations=True, recipes=("default", "paper"))
    for cell in make_plan(wanted).cells:
        cell.begin()
        description = cell.read_description()
        assert description is not None
        restored = restore_cell(cell.folder, description)

        assert restored.config == cell.config
        assert restored.describe() == description


def test_a_variant_that_changes_what_says_nothing_is_left_out(
    dataset_path: Path, tmp_path: Path
) -> None:
    wanted = request(dataset_path, tmp_path, ablations=True, options={"general": 0.0})
    names = {line.variant.name for line in make_plan(wanted).lines}

    assert "no-popularity" in names
    assert not names & {"no-general", "no-attention", "no-next-item"}
    assert not names & {"even-cuts", "no-neighbours"}, "users are few"


def test_other_options_are_refused(dataset_path: Path, tmp_path: Path) -> None:
    for cell in make_plan(request(dataset_path, tmp_path)).cells:
        cell.begin()

    make_plan(request(dataset_path, tmp_path))
    with pytest.raises(InputError, match=r"--dim is 8, was 16\); choose another --out"):
        make_plan(request(dataset_path, tmp_path, options={"dim": 8}))


def test_other_data_are_refused(dataset_path: Path, other_path: Path, tmp_path: Path) -> None:
    namesake = tmp_path / "dataset"
    other_path.rename(namesake)
    for cell in make_plan(request(dataset_path, tmp_path / "out")).cells:
        cell.begin()

    with pytest.raises(InputError, match="of another data set"):
        make_plan(request(namesake, tmp_path / "out"))
    namesake.rename(other_path)


def test_a_damaged_cell_is_named(dataset_path: Path, tmp_path: Path) -> None:
    (cell, *_) = make_plan(request(dataset_path, tmp_path)).cells
    cell.begin()
    (cell.folder / CELL_FILE).write_text("{")

    with pytest.raises(InputError, match=r"seed-0/cell.json: cannot be read"):
        make_plan(request(dataset_path, tmp_path))


def test_data_sets_of_the_same_name_are_refused(dataset_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="same name: dataset"):
        make_plan(request(dataset_path, tmp_path, datasets=[dataset_path, dataset_path]))


@pytest.mark.parametrize("name", ["report.html", "results.md", "results.json"])
def test_a_data_set_named_as_the_report_is_refused(
    dataset_path: Path, tmp_path: Path, name: str
) -> None:
    namesake = tmp_path / "data" / name
    namesake.mkdir(parents=True)
    (namesake / "dataset.json").write_text((dataset_path / "dataset.json").read_text())

    with pytest.raises(InputError, match=f"a data set is named {name}"):
        make_plan(request(namesake, tmp_path))


def test_data_without_test_targets_are_refused(dataset_path: Path, tmp_path: Path) -> None:
    again = PlantedLog(n_users=30, n_categories=1, items_per_category=2, liked=1, length=20)
    interactions, _ = again.write(tmp_path)
    prepare(interactions, tmp_path / "again", split="user")  # everybody has had both items

    require_targets(make_plan(request(dataset_path, tmp_path / "out")))
    with pytest.raises(InputError, match="again: no user has a test target"):
        require_targets(make_plan(request(tmp_path / "again", tmp_path / "out")))


def test_seeds_of_no_data_set_are_refused(dataset_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--seeds names no data set: yelp"):
        make_plan(request(dataset_path, tmp_path, seeds={ALL_OTHERS: 1, "yelp": 2}))


def test_values_out_of_range_are_refused(dataset_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--patience is 0"):
        make_plan(request(dataset_path, tmp_path, options={"patience": 0}))
    with pytest.raises(InputError, match="--k is 32, --dim is 16"):
        make_plan(request(dataset_path, tmp_path, ks=(32,)))
