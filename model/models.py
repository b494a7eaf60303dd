"""The class of each model that can be trained, by name; imported when it is asked for."""

from importlib import import_module

from model.encoder import TrainableEncoder

_CLASSES = {
    "opal": ("model.opal", "OpalEncoder"),
    "octopus": ("model.rivals.octopus", "Octopus"),
    "mind": ("model.rivals.mind", "Mind"),
    "comirec-dr": ("model.rivals.comirec_dr", "ComiRecDr"),
    "comirec-sa": ("model.rivals.comirec_sa", "ComiRecSa"),
    "dssrec": ("model.rivals.dssrec", "DssRec"),
    "cmi": ("model.rivals.cmi", "Cmi"),
    "gru4rec": ("model.rivals.gru4rec", "Gru4Rec"),
    "sasrec": ("model.rivals.sasrec", "SasRec"),
}


def encoder_class(name: str) -> type[TrainableEncoder]:
    """Return a model's class.

    Args:
        name: One of ``TRAINABLE_MODELS``.
    """
    module, class_name = _CLASSES[name]
    found: type[TrainableEncoder] = getattr(import_module(module), class_name)
    return found
