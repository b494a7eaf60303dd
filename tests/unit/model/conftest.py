"""What the tests of the offline model share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.data.dataset import Dataset, prepare
from tests.planted import PlantedLog


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: results to the last bit, and no fight for the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
