"""What the tests of the offline model share."""

from pathlib import Path

import pytest

from model.data.dataset import Dataset, prepare
from tests.planted import PlantedLog


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small prepared data set that tests read but never change; Recall@50 is not always 1."""
    folder = tmp_path_factory.mktemp("data")
    interactions, items = PlantedLog(
        n_users=60, n_categories=3, items_per_category=60, length=12
    ).write(folder / "log")
    prepare(interactions, folder / "dataset", items=items)
    return folder / "dataset"


@pytest.fixture
def dataset(dataset_path: Path) -> Dataset:
    return Dataset.open(dataset_path)
