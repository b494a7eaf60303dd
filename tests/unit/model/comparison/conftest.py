"""What the tests of the comparison share."""

from pathlib import Path

import pytest

from model.comparison.plan import ALL_OTHERS, Plan, Request, make_plan
from model.model_names import TRAINABLE_MODELS


@pytest.fixture
def plan(dataset_path: Path, tmp_path: Path) -> Plan:
    request = Request(
        datasets=[dataset_path],
        out=tmp_path,
        models=("opal", "octopus", "mind", "comirec-sa", "sasrec", "pop"),
        recipes=("default",),
        seeds={ALL_OTHERS: 2},
        ks=(),
        k_models=TRAINABLE_MODELS,
        ablations=False,
        studied=None,
        options={},
    )
    made = make_plan(request)
    for cell in made.cells:
        cell.begin()
    return made
