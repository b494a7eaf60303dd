"""Reads ``encoder.safetensors``, whatever the model that it holds."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from model.errors import InputError
from model.inference.encoder import UserEncoder
from model.inference.lengths import model_of
from model.tensor_files import DAMAGE, map_tensors

ENCODER_FILE = "encoder.safetensors"

# Each has load(tensors, settings); a file that names no model holds OPAL without a general
# interest, as all once did. Programs that do not know one of a model's names refuse it.
_MODULES = {
    "opal": "model.inference.opal",
    "opal-general": "model.inference.opal",
    "opal-attention": "model.inference.opal",
    "octopus": "model.inference.octopus",
    "mind": "model.inference.mind",
    "comirec-dr": "model.inference.comirec_dr",
    "comirec-sa": "model.inference.comirec_sa",
    "dssrec": "model.inference.dssrec",
    "cmi": "model.inference.cmi",
    "cmi-attention": "model.inference.cmi",
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
        model = model_of(tensors, settings)
        if model not in _MODULES:
            raise ValueError(f"model is {model!r}, expected one of {', '.join(_MODULES)}")
        encoder: UserEncoder = import_module(_MODULES[model]).load(tensors, settings)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is this a run or a bundle?") from None
    except DAMAGE as error:
        raise InputError(f"{path}: not an encoder ({error})") from error
    return encoder
