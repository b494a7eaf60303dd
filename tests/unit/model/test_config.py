"""What training can be told, and what it refuses to be told."""

import json
from dataclasses import replace
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
        ({"temperature": float("nan")}, "--temperature is nan; expected"),
        ({"weight_decay": float("nan")}, "--weight-decay is nan; expected at least 0"),
        ({"weight_decay": float("inf")}, "--weight-decay is inf; expected at most 2147483647"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan; expected"),
        ({"learning_rate": float("inf")}, "--learning-rate is inf; expected at most"),
        ({"temperature": float("inf")}, "--temperature is inf; expected at most"),
        ({"averaging": float("nan")}, "--averaging is nan; expected"),
        ({"loss_weights": LossWeights(unique=float("nan"))}, "--unique is nan; expected"),
        ({"seed": 2**63}, "--seed is 9223372036854775808; expected at most 9223372036854775807"),
        ({"max_len": 2**31}, "--max-len is 2147483648; expected at most 2147483647"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; expected more than 0"),
    ],
)
def test_a_value_out_of_range_is_named_by_its_option(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainingConfig(**values)
    assert str(caught.value).startswith(message)


def test_the_bounds_themselves_are_taken() -> None:
    TrainingConfig(k=8, dim=8, seed=0, weight_decay=0.0, averaging=0.0, n_negatives=None)
    TrainingConfig(seed=2**63 - 1)


def test_what_differs_from_an_earlier_config_is_named_by_option() -> None:
    config = TrainingConfig(k=2, n_negatives=7, loss_weights=LossWeights(unique=0.5))
    before = json.loads(json.dumps(config.to_dict()))

    assert config.differences(before) == ""
    assert replace(config, k=3, seed=1).differences(before) == "--k is 3, was 2; --seed is 1, was 0"
    assert "--dim is 64, was None" in config.differences({})
