"""What the tests of the comparison share."""

from pathlib import Path

import pytest

from model.comparison.plan import Plan, make_plan
from tests.comparisons import request


@pytest.fixture
def plan(dataset_path: Path, tmp_path: Path) -> Plan:
    models = ("opal", "octopus", "mind", "comirec-sa", "sasrec", "pop")
    made = make_plan(request(dataset_path, tmp_path, *models))
    for cell in made.cells:
        cell.begin()
    return made
