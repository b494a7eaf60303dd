"""What training can be told, and what it refuses to be told."""

import argparse
from dataclasses import fields, replace
from typing import Any

import pytest

from model.config.data_size import MANY_USERS
from model.config.foreign_options import OPAL_ONLY
from model.config.loss_weights import LossWeights
from model.config.paper_recipes import OWN_DEFAULTS, PAPER_RECIPES
from model.config.training_config import Recipe, TrainingConfig
from model.config.training_options import TRAINING_OPTIONS
from model.errors import InputError
from model.model_names import MULTI_INTEREST_RIVALS, SINGLE_VECTOR_RIVALS, TRAINABLE_MODELS

RECIPES: tuple[Recipe, Recipe] = ("default", "paper")


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
        ({"averaging": 1.0}, "--averaging is 1.0; expected less than 1.0"),
        ({"averaging": -0.1}, "--averaging is -0.1; expected at least 0.0"),
        ({"averaging": float("inf")}, "--averaging is inf; expected less than 1.0"),
        ({"temperature": 0.0}, "--temperature is 0.0; expected more than 0"),
        ({"temperature": float("nan")}, "--temperature is nan; expected"),
        ({"weight_decay": float("nan")}, "--weight-decay is nan; expected at least 0"),
        ({"weight_decay": float("inf")}, "--weight-decay is inf; expected at most 2147483647"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan; expected"),
        ({"learning_rate": float("inf")}, "--learning-rate is inf; expected at most"),
        ({"temperature": float("inf")}, "--temperature is inf; expected at most"),
        ({"averaging": float("nan")}, "--averaging is nan; expected"),
        ({"seed": 2**63}, "--seed is 9223372036854775808; expected at most 9223372036854775807"),
        ({"max_len": 2**31}, "--max-len is 2147483648; expected at most 2147483647"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; expected more than 0"),
        ({"min_cut": 0}, "--min-cut is 0; expected at least 1"),
        ({"cut_draws": 0}, "--cut-draws is 0; expected at least 1"),
        ({"cut_draws": 101}, "--cut-draws is 101; expected at most 100"),
        ({"neighbours": -0.1}, "--neighbours is -0.1; expected at least 0.0"),
        ({"horizon": 0.0}, "--horizon is 0.0; expected more than 0.0"),
        ({"horizon": 1.1}, "--horizon is 1.1; expected at most 1.0"),
        ({"history_dropout": 1.0}, "--history-dropout is 1.0; expected less than 1.0"),
        ({"sharing": 1.5}, "--sharing is 1.5; expected at most 1.0"),
        ({"evolution": 1.0}, "--evolution is 1.0; expected less than 1.0"),
        ({"evolution": 0.0}, "--evolution is 0.0; expected more than 0.0"),
        ({"assignment_temperature": 0.0}, "--assignment-temperature is 0.0; expected more than"),
        ({"start": "eigen"}, "--start is eigen; expected one of pmi, random"),
        ({"positives": "all"}, "--positives is all; expected one of horizon, one"),
        ({"recipe": "ours"}, "--recipe is ours; expected one of default, paper"),
        ({"model": "ours"}, "--model is ours; expected one of opal, octopus, mind, comirec-dr, "),
        ({"unit_vectors": False}, "--unit-vectors is off; vectors of opal are always of unit len"),
        ({"model": "sasrec", "k": 4}, "--k is 4; sasrec makes a single vector of a history"),
    ],
)
def test_a_value_out_of_range_is_named_by_its_option(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainingConfig(**values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0])
def test_the_weight_of_a_loss_is_a_number_from_zero_on(weight: float) -> None:
    with pytest.raises(InputError, match=f"the weight of the unique loss is {weight}; expected"):
        LossWeights(unique=weight)


def test_the_bounds_themselves_are_taken() -> None:
    TrainingConfig(k=8, dim=8, seed=0, weight_decay=0.0, averaging=0.0, n_negatives=None)
    TrainingConfig(seed=2**63 - 1, horizon=1.0, sharing=1.0, history_dropout=0.0)
    TrainingConfig(sharing=0.0, max_len=None)


def test_the_paper_recipe_has_the_values_of_the_paper() -> None:
    paper = TrainingConfig.for_recipe("paper")

    assert (paper.k, paper.dim, paper.max_len, paper.batch_size) == (8, 64, 100, 1024)
    assert paper.temperature == paper.assignment_temperature == 0.1
    assert (paper.learning_rate, paper.weight_decay) == (1e-3, 1e-4)
    assert (paper.eval_every, paper.patience) == (1000, 5)
    assert (paper.start, paper.positives, paper.min_cut) == ("random", "one", 3)
    assert paper.n_negatives is None  # as many as sequences: see test_recipe.py
    assert paper.loss_weights == LossWeights(orthogonality=10, uniformity=1, unique=1)
    assert paper.evolution == 0.5
    # What the paper does not have is off, but for the average that is validated and kept.
    assert (paper.sharing, paper.history_dropout) == (0, 0)
    learned = (paper.learn_temperature, paper.learn_recency, paper.learn_evolution)
    assert not any(learned)


def test_the_default_recipe_is_what_a_config_is_made_of() -> None:
    assert TrainingConfig.for_recipe("default") == TrainingConfig()


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_given_wins_over_the_recipe(recipe: Recipe) -> None:
    config = TrainingConfig.for_recipe(recipe, {"k": 3, "dim": 16, "averaging": 0.5})

    assert (config.k, config.dim, config.averaging) == (3, 16, 0.5)
    assert config.differences(TrainingConfig.for_recipe(recipe).to_dict()).count(" was ") == 3


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(InputError, match="--recipe is ours; expected one of default, paper"):
        TrainingConfig.for_recipe("ours")  # type: ignore[arg-type]


def test_every_value_but_the_model_and_the_loss_weights_is_an_option() -> None:
    assert {*TRAINING_OPTIONS, "model", "loss_weights"} == {f.name for f in fields(TrainingConfig)}


@pytest.mark.parametrize("model", TRAINABLE_MODELS)
def test_the_default_recipe_is_the_same_for_all_models_but_for_what_is_told(model: str) -> None:
    config = TrainingConfig.for_recipe("default", model=model)

    assert config == replace(TrainingConfig(), model=model, **OWN_DEFAULTS.get(model, {}))


@pytest.mark.parametrize("model", [*MULTI_INTEREST_RIVALS, *SINGLE_VECTOR_RIVALS])
def test_a_rivals_paper_recipe_leaves_out_what_the_default_recipe_adds(model: str) -> None:
    config = TrainingConfig.for_recipe("paper", model=model)

    assert (config.recipe, config.model, config.start) == ("paper", model, "random")
    assert (config.learn_temperature, config.history_dropout, config.averaging) == (False, 0.0, 0.0)
    assert config.max_len is not None


@pytest.mark.parametrize("model", ["octopus", "mind", "comirec-dr", "comirec-sa"])
def test_comirecs_negatives_are_ten_for_each_sequence(model: str) -> None:
    config = TrainingConfig.for_recipe("paper", model=model)

    assert config.n_negatives == 10 * config.batch_size


@pytest.mark.parametrize("model", sorted(PAPER_RECIPES))
def test_a_paper_recipe_holds_what_a_config_of_its_model_says(model: str) -> None:
    config = TrainingConfig.for_recipe("paper", model=model)

    assert {*PAPER_RECIPES} == {*TRAINABLE_MODELS}
    recipe = PAPER_RECIPES[model]
    assert {name: getattr(config, name) for name in recipe} == recipe


@pytest.mark.parametrize(
    ("model", "k"), [("opal", 8), ("comirec-sa", 8), ("gru4rec", 1), ("sasrec", 1)]
)
def test_a_model_with_a_single_vector_has_one_interest(model: str, k: int) -> None:
    assert TrainingConfig(model=model).fitted_to(10).k == k


@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig(general=0.0),
        TrainingConfig(model="mind"),
        TrainingConfig.for_recipe("paper", model="sasrec"),
    ],
)
def test_what_learns_no_next_items_in_a_history_says_nothing_of_how(
    config: TrainingConfig,
) -> None:
    assert not {"next_item", "general_len"} & config.to_dict().keys()
    assert config.differences(replace(config, next_item=0.3).to_dict()) == ""


def test_a_rivals_values_do_not_name_what_only_opal_has() -> None:
    mine, theirs = TrainingConfig().to_dict(), TrainingConfig(model="mind").to_dict()

    assert mine.keys() - theirs.keys() == OPAL_ONLY | {"attention", "next_item"}
    assert theirs["model"] == "mind"


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", sorted({*TRAINING_OPTIONS} - {"recipe"}))
def test_an_option_is_parsed_from_the_text_of_its_value_that_help_shows(
    name: str, recipe: Recipe
) -> None:
    option = TRAINING_OPTIONS[name]
    value = getattr(TrainingConfig.for_recipe(recipe), name)
    shown = "not given" if value is None else str(value)
    if isinstance(value, bool):
        shown = "on" if value else "off"

    is_told_apart = value != getattr(TrainingConfig(), name)
    assert f"{'paper' if is_told_apart else 'default'}: {shown}" in option.help
    if value is not None:
        assert option.parse(shown) == value


@pytest.mark.parametrize("text", ["yes", "On", "1"])
def test_a_switch_is_on_or_off(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is neither on nor off"):
        TRAINING_OPTIONS["learn_recency"].parse(text)


def test_k_is_8_where_it_is_not_given_but_no_more_than_d() -> None:
    config = TrainingConfig()

    assert config.k is None
    assert config.fitted_to(10).k == 8
    assert config.fitted_to(10**6).k == 8
    assert TrainingConfig(k=3).fitted_to(10).k == 3
    assert TrainingConfig(dim=2).fitted_to(10).k == 2
    assert TrainingConfig.for_recipe("paper").fitted_to(10).k == 8


def test_attention_follows_from_the_number_of_users_where_it_is_not_given() -> None:
    def attention(n_users: int, **options: Any) -> bool | None:
        return TrainingConfig(**options).fitted_to(n_users).attention

    assert attention(MANY_USERS) is True
    assert attention(MANY_USERS - 1) is False
    assert attention(MANY_USERS, attention=False) is False
    assert attention(10, attention=True) is True
    assert attention(MANY_USERS, general=0.0) is None, "it says nothing there"
    assert attention(MANY_USERS, model="cmi") is True
    assert attention(MANY_USERS - 1, model="cmi") is False
    assert attention(MANY_USERS, model="mind") is None

    paper = TrainingConfig.for_recipe("paper", model="cmi")
    assert paper.fitted_to(MANY_USERS).attention is False


@pytest.mark.parametrize("model", TRAINABLE_MODELS)
def test_later_cuts_and_neighbours_are_of_all_models_where_users_are_many(model: str) -> None:
    def fitted(n_users: int, **given: Any) -> tuple[int | None, float | None]:
        config = TrainingConfig(**given, model=model).fitted_to(n_users)
        return config.cut_draws, config.neighbours

    assert fitted(MANY_USERS) == (2, 1.0)
    assert fitted(MANY_USERS - 1) == (1, 0.0)
    assert fitted(MANY_USERS, cut_draws=1, neighbours=0.0) == (1, 0.0)
    assert fitted(10, cut_draws=3, neighbours=0.5) == (3, 0.5)
    paper = TrainingConfig.for_recipe("paper", model=model).fitted_to(MANY_USERS)
    assert (paper.cut_draws, paper.neighbours) == (1, 0.0)


def test_popularity_is_said_of_vectors_that_have_no_length_of_their_own() -> None:
    config = TrainingConfig(model="mind", unit_vectors=False)
    assert not config.differences({**config.to_dict(), "popularity": 0.0})
    assert TrainingConfig(model="mind").differences({**config.to_dict(), "popularity": 0.0})
    with pytest.raises(InputError, match=r"--popularity is 0\.2; vectors of mind \(recipe paper\)"):
        TrainingConfig.for_recipe("paper", {"popularity": 0.2}, model="mind")


def test_a_training_goes_on_whatever_is_chosen_after_it() -> None:
    before = TrainingConfig(popularity=0.1).to_dict()

    assert TrainingConfig().differences(before) == "--popularity is not given, was 0.1"
    assert TrainingConfig().differences(before, training_only=True) == ""
