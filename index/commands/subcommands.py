"""What the modules of ``python -m index`` share: how a sub-command is described."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from model.command import Result


def _no_objection(_: argparse.Namespace) -> str | None:
    return None


class Subcommand(NamedTuple):
    """One sub-command.

    Attributes:
        run: Does the work; its docstring is the help.
        describe: How its result reads without ``--json``.
        add_options: Adds its arguments to its parser.
        objection: Says what is wrong with arguments that do not go together, None if nothing.
    """

    run: Callable[[argparse.Namespace], Result]
    describe: Callable[[Result], str]
    add_options: Callable[[argparse.ArgumentParser], None]
    objection: Callable[[argparse.Namespace], str | None] = _no_objection


def add_registry_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--registry``."""
    parser.add_argument(
        "--registry", type=Path, required=required, help="the folder of published bundles"
    )


def fraction(text: str) -> float:
    """Read a number between 0 and 1 from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def count(text: str) -> int:
    """Read a whole number from 1 on from the command line."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return value
