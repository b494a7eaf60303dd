"""An option of a training: a field of a dataclass, its limits, and how messages name it."""

import argparse
import operator
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from model.errors import InputError

MAX_SEED = 2**63 - 1
"""More does not fit into the generators."""
MAX_VALUE = 2**31 - 1
"""Of all numbers but the seed; what counts or sizes more does not end, or does not fit."""


_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "least": (operator.ge, "at least"),
    "above": (operator.gt, "more than"),
    "below": (operator.lt, "less than"),
    "most": (operator.le, "at most"),
}


def switch(text: str) -> bool:
    """Read what is on or off.

    Raises:
        ArgumentTypeError: It is neither.
    """
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off")
    return text == "on"


def option(default: Any, help_text: str, parse: Callable[[str], Any], **limits: Any) -> Any:
    """Make a field that is an option of ``train``; limits: least, above, below, most, choices."""
    return field(default=default, metadata={"help": help_text, "parse": parse, **limits})


def option_text(value: Any) -> str:
    """Return a value as it is given on the command line; None is one that was not given."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not given" if value is None else str(value)


def check_option(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    """Raise InputError where a value is outside its option's limits; NaN is outside any."""
    if "choices" in limits and value not in limits["choices"]:
        raise InputError(
            f"{option_name(name)} is {value}; expected one of {', '.join(limits['choices'])}"
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    bounds = {"most": MAX_SEED if name == "seed" else MAX_VALUE, **limits}
    for kind, (holds, words) in _BOUNDS.items():
        if kind in bounds and not holds(value, bounds[kind]):
            raise InputError(f"{option_name(name)} is {value}; expected {words} {bounds[kind]}")


def option_name(name: str) -> str:
    """Return a field's option: "--max-len" for "max_len"."""
    return "--" + name.replace("_", "-")
