"""The registries of models agree with each other and with the classes."""

from importlib import import_module

import pytest

from model.inference import loading
from model.model_names import OPAL, SINGLE_VECTOR_RIVALS, TRAINABLE_MODELS
from model.models import encoder_class
from model.rivals.rival import Rival

RIVALS = [name for name in TRAINABLE_MODELS if name != OPAL]


@pytest.mark.parametrize("name", RIVALS)
def test_a_rivals_class_goes_by_its_name(name: str) -> None:
    found = encoder_class(name)

    assert issubclass(found, Rival)
    assert found.name == name
    assert found.has_interests == (name not in SINGLE_VECTOR_RIVALS)


def test_every_trainable_model_has_an_encoder_without_torch() -> None:
    assert {*loading._MODULES} == {
        *TRAINABLE_MODELS,
        "opal-general",
        "opal-attention",
        "cmi-attention",
    }, "which are OPAL and CMI too"
    for module in loading._MODULES.values():
        assert callable(import_module(module).load)
