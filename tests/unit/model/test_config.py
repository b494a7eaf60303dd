"""What training can be told, and what it refuses to be told."""

import json
from typing import Any

import pytest

from model.config import LossWeights, TrainingConfig
from model.errors import InputError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 0}, "--k is 0; expected at least 1"),
        ({"dim": 0}, "--dim is 0; expected at least 1"),
        ({"max_len": 0}, "--max-len is 0; expected at least 1"),
        ({"batch_size": 0}, "--batch-size is 0; expected at least 1"),
        ({"n_negatives": 0}, "--n-negatives is 0; expected at least 1"),
        ({"eval_every": 0}, "--eval-every is 0; expected at least 1"),
        ({"patience": 0}, "--patience is 0; expected at least 1"),
        ({"max_steps": 0}, "--max-steps is 0; expected at least 1"),
        ({"seed": -1}, "--seed is -1; expected at least 0"),
        ({"weight_decay": -1e-4}, "--weight-decay is -0.0001; expected at least 0"),
        ({"k": 9, "dim": 8}, "--k is 9, --dim is 8; at most dim hyper-categories"),
        ({"averaging": 1.0}, "--averaging is 1.0; expected 0 or more, and less than 1"),
        ({"averaging": -0.1}, "--averaging is -0.1; expected 0 or more"),
        ({"temperature": 0.0}, "--temperature is 0.0; expected more than 0"),
        ({"temperature": float("nan")}, "--temperature is nan; expected more than 0"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; expected more than 0"),
    ],
)
def test_a_value_out_of_range_is_named_by_its_option(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainingConfig(**values)
    assert str(caught.value).startswith(message)


def test_the_bounds_themselves_are_taken() -> None:
    TrainingConfig(k=8, dim=8, seed=0, weight_decay=0.0, averaging=0.0, n_negatives=None)


def test_a_config_comes_back_from_json() -> None:
    config = TrainingConfig(k=2, n_negatives=7, loss_weights=LossWeights(unique=0.5))

    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
