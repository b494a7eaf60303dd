"""What the tests of encoders without torch share."""

import pytest

from model.encoder import Stage

STAGES: list[Stage] = ["soft", "hard"]


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Stage:
    stage: Stage = request.param
    return stage
