"""What two trainings are told differently, one of them perhaps by an earlier version."""

import json
from dataclasses import replace

import pytest

from model.config.data_size import MANY_USERS
from model.config.loss_weights import LossWeights
from model.config.training_config import TrainingConfig


def test_what_differs_from_an_earlier_config_is_named_by_option() -> None:
    config = TrainingConfig(k=2, n_negatives=7, loss_weights=LossWeights(unique=0.5))
    before = json.loads(json.dumps(config.to_dict()))

    assert config.differences(before) == ""
    assert replace(config, k=3, seed=1).differences(before) == "--k is 3, was 2; --seed is 1, was 0"
    assert "--dim is 128, was not given" in config.differences({})


def test_what_an_earlier_version_does_not_say_is_that_of_opal() -> None:
    config = TrainingConfig(general=0.0, next_item=0.0)
    before = config.to_dict()
    del before["model"], before["unit_vectors"], before["general"], before["fine_tuning_rate"]

    assert replace(config, fine_tuning_rate=1.0).differences(before) == ""
    assert TrainingConfig(attention=True).differences(before) == (
        "--general is 0.3, was 0.0; --attention is on, was off; --next-item is 1.0, was 0.0; "
        "--fine-tuning-rate is 0.2, was 1.0"
    )
    config = replace(config, fine_tuning_rate=1.0)
    assert config.differences({**before, "model": []}) == "--model is opal, was []"
    assert TrainingConfig(model="mind").differences(before) == "--model is mind, was opal"


def test_what_was_trained_before_had_even_cuts_and_no_neighbours() -> None:
    config = TrainingConfig().fitted_to(MANY_USERS)
    before = config.to_dict()
    del before["cut_draws"], before["neighbours"]

    assert config.differences(before) == "--cut-draws is 2, was 1; --neighbours is 1.0, was 0.0"
    assert replace(config, cut_draws=1, neighbours=0.0).differences(before) == ""


@pytest.mark.parametrize(
    ("n_users", "words"), [(MANY_USERS - 1, ""), (MANY_USERS, "--attention is on, was off")]
)
def test_cmi_of_an_earlier_version_did_not_attend(n_users: int, words: str) -> None:
    config = TrainingConfig(model="cmi").fitted_to(n_users)
    before = config.to_dict()
    del before["attention"]

    assert config.differences(before) == words


def test_the_general_interest_of_an_earlier_version_read_20_interactions() -> None:
    before = TrainingConfig().to_dict()
    del before["general_len"]

    assert TrainingConfig(general_len=20).differences(before) == ""
    assert TrainingConfig().differences(before) == "--general-len is not given, was 20"
    assert TrainingConfig(general=0.0).differences({**before, "general": 0.0}) == ""


@pytest.mark.parametrize(("model", "weight"), [("gru4rec", 1.0), ("sasrec", 1.0), ("cmi", 0.0)])
def test_of_an_earlier_version_only_single_vectors_learned_next_items_in_a_history(
    model: str, weight: float
) -> None:
    before = TrainingConfig(model=model).to_dict()
    del before["next_item"]

    assert TrainingConfig(model=model, next_item=weight).differences(before) == ""
    assert TrainingConfig(model=model, next_item=0.7).differences(before) == (
        f"--next-item is 0.7, was {weight}"
    )


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ((20, None), (20, 20), ""),
        ((20, 30), (20, 20), ""),
        ((20, 50), (100, 50), "--max-len is 100, was 20"),
        ((20, 30), (20, 10), "--general-len is 10, was 30"),
        ((21, 20), (21, None), "--general-len is not given, was 20"),
        ((100, 20), (20, 50), "--max-len is 20, was 100; --general-len is 50, was 20"),
    ],
)
def test_a_bound_of_the_general_interest_beyond_every_history_is_none(
    before: tuple[int, int | None], now: tuple[int, int | None], words: str
) -> None:
    then = TrainingConfig(max_len=before[0], general_len=before[1])
    config = TrainingConfig(max_len=now[0], general_len=now[1])

    assert config.differences(then.to_dict()) == words


def test_histories_as_long_as_an_earlier_version_read_them_are_read_the_same() -> None:
    config = TrainingConfig(max_len=20)
    before = config.to_dict()
    del before["general_len"]

    assert config.differences(before) == ""


def test_what_is_on_or_off_is_named_so() -> None:
    before = TrainingConfig().to_dict()

    assert TrainingConfig(learn_recency=False).differences(before) == (
        "--learn-recency is off, was on"
    )
