"""Reads ``encoder.safetensors``, whatever the model that it holds."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from model.errors import InputError
from model.inference.encoder import UserEncoder
from model.tensor_files import DAMAGE, map_tensors

ENCODER_FILE = "encoder.safetensors"

_POPULARITY = "+popularity"

# Each has load(tensors, settings); a file that names no model holds OPAL without a general
# interest, as all once did.
_MODULES = {
    "opal": "model.inference.opal",
    "opal-general": "model.inference.opal",
    "octopus": "model.inference.octopus",
    "mind": "model.inference.mind",
    "comirec-dr": "model.inference.comirec_dr",
    "comirec-sa": "model.inference.comirec_sa",
    "dssrec": "model.inference.dssrec",
    "cmi": "model.inference.cmi",
    "gru4rec": "model.inference.gru4rec",
    "sasrec": "model.inference.sasrec",
}


def load_encoder(path: Path) -> UserEncoder:
    """Load ``encoder.safetensors``, wherever a run or a bundle keeps it; tensors are mapped.

    Raises:
        InputError: The file is missing, damaged, or not an encoder.
    """
    try:
        tensors, metadata = map_tensors(path)
        settings: dict[str, Any] = json.loads(metadata["encoder"])
        model = settings.get("model", "opal")
        kind = model.removesuffix(_POPULARITY) if isinstance(model, str) else model
        if kind not in _MODULES:
            raise ValueError(f"model is {model!r}, expected one of {', '.join(_MODULES)}")
        encoder: UserEncoder = import_module(_MODULES[kind]).load(tensors, settings)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is this a run or a bundle?") from None
    except DAMAGE as error:
        raise InputError(f"{path}: not an encoder ({error})") from error
    return encoder


def with_popularity(settings: dict[str, Any], exponent: float) -> dict[str, Any]:
    """Return settings of an encoder whose item vectors have the lengths of ``model.popularity``.

    The name of the model says it too, so that programs which do not know of it refuse the file
    instead of taking these vectors for those of a history.

    Args:
        settings: Of the encoder as it was trained.
        exponent: β, above 0.
    """
    model = settings.get("model", "opal")
    return {**settings, "model": f"{model}{_POPULARITY}", "popularity": exponent}
