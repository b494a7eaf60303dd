"""Which processor trains, and in which precision."""

import os
from contextlib import AbstractContextManager

import torch

from model.errors import InputError


def choose_device(name: str) -> torch.device:
    """Return the device of this process; of several processes each takes a GPU of its own.

    Args:
        name: "cpu", "cuda", or "auto", which takes CUDA where it is.

    Raises:
        InputError: There is no GPU for this process.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))  # torchrun sets it
    if number >= torch.cuda.device_count():
        raise InputError(
            f"--device {name}: {torch.cuda.device_count()} GPU(s) here, and this is process "
            f"{number + 1} on this machine; start fewer, or pass --device cpu"
        )
    return torch.device("cuda", number)


def describe_device(device: torch.device) -> dict[str, str]:
    """Return what the figures of a training depend on besides its program: processor and torch."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    return {"device": name, "torch": str(torch.__version__)}


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Let matrix products run in bfloat16 on a GPU; on a CPU all stays in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")
