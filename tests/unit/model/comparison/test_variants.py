"""Variants change what they say, and nothing else."""

from typing import get_args

import pytest

from model.comparison.cell import make_config
from model.comparison.variants import Variant, ablations, variant_of_k
from model.config.training_config import Recipe

ALL = [(recipe, variant) for recipe in get_args(Recipe) for variant in ablations(recipe)]

SUMMARY = {"users": 10**5}


@pytest.mark.parametrize(
    ("recipe", "variant"), ALL, ids=[f"{recipe}-{each.name}" for recipe, each in ALL]
)
def test_an_ablation_changes_its_options_alone(recipe: Recipe, variant: Variant) -> None:
    before = make_config("opal", recipe, {}, SUMMARY).to_dict()
    after = make_config("opal", recipe, dict(variant.options), SUMMARY).to_dict()

    # What says nothing any more is not there.
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed == set(variant.options)


def test_names_are_fit_for_paths_and_differ() -> None:
    names = [variant.name for variant in ablations("default")]

    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() for name in names)


def test_k_is_set() -> None:
    config = make_config("opal", "default", dict(variant_of_k(3).options), SUMMARY)

    assert config.k == 3


def test_a_model_with_a_single_vector_takes_no_k() -> None:
    assert make_config("sasrec", "default", {"k": 8}, SUMMARY).k == 1
