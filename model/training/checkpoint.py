"""Checkpoints: safetensors for the tensors, JSON for the rest; no pickle.

A checkpoint ``NAME`` is ``NAME.json`` and the tensor file that it names. The tensors are written
first, under a name of their own, and the JSON file is replaced last: a crash at any moment leaves
the old checkpoint or the new one.
"""

import json
import uuid
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.errors import InputError
from model.files import read_json_object, replace_file, sync

Tensors = dict[str, Tensor]


def save_checkpoint(folder: Path, name: str, tensors: Tensors, state: dict[str, Any]) -> None:
    """Replace the checkpoint ``name``.

    Args:
        folder: Where checkpoints are; made if need be.
        name: Of the checkpoint.
        tensors: By name; any shape and dtype, on any device.
        state: What JSON can hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensor_file = folder / f"{name}-{uuid.uuid4().hex[:8]}.safetensors"
    on_cpu = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(on_cpu, tensor_file)
    sync(tensor_file)
    replace_file(
        folder / f"{name}.json", json.dumps({**state, "tensors": tensor_file.name}, indent=2)
    )
    for old in folder.glob(f"{name}-*"):
        if old != tensor_file:
            old.unlink()


def load_checkpoint(folder: Path, name: str) -> tuple[Tensors, dict[str, Any]]:
    """Load the checkpoint ``name``: its tensors and its state.

    Raises:
        InputError: There is none, or it is damaged.
    """
    path = folder / f"{name}.json"
    try:
        state = read_json_object(path)
        return load_file(folder / state["tensors"]), state
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise InputError(f"{path}: no usable checkpoint ({error})") from error


def has_checkpoint(folder: Path, name: str) -> bool:
    """Tell whether there is a checkpoint ``name``."""
    return (folder / f"{name}.json").is_file()
