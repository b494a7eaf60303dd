"""``python -m model train``: its options, and what they ask for."""

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from model.baselines.names import YARDSTICKS
from model.command import Result, count
from model.config.foreign_options import OPAL_ONLY, foreign_options
from model.config.options import option_name
from model.config.training_config import TrainingConfig
from model.config.training_options import TRAINING_OPTIONS
from model.errors import InputError, OpalError
from model.model_names import OPAL, TRAINABLE_MODELS
from model.result_words import describe_run

_OF_TRAINED = {"yardsticks", "fit_on", "device", *TRAINING_OPTIONS}
# The options of `train` that only some models take.
_OPTIONS_OF = {
    **{model: _OF_TRAINED - foreign_options(model) for model in TRAINABLE_MODELS},
    "ease": {"ease_l2"},
}


def add_train(commands: Any) -> None:
    """Add ``train`` to the commands of a parser."""
    command = commands.add_parser(
        "train", help="train OPAL or one of its rivals, or make a yardstick; measure it"
    )
    command.add_argument("dataset", type=Path, metavar="DATASET")
    command.add_argument("--out", type=Path, required=True, help="run folder to make")
    command.add_argument(
        "--model",
        choices=(*TRAINABLE_MODELS, *YARDSTICKS),
        default=OPAL,
        help="OPAL, a rival that is trained, or one of the yardsticks "
        f"{', '.join(YARDSTICKS)} (default: {OPAL})",
    )
    command.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    # Steps are small: on two busy cores a second thread only waits (10 × slower, measured).
    command.add_argument("--threads", type=count, default=1, help="threads of torch (default: 1)")
    trained = command.add_argument_group("of all models but the yardsticks, how it runs")
    recipe = command.add_argument_group(
        "of all models but the yardsticks, what it learns by",
        "a recipe is a set of values for all of these; where a rival's own paper says something "
        "else, model/config/paper_recipes.py holds it; an option that says which models it is of "
        "is refused for the others",
    )
    opal = command.add_argument_group("of --model opal, besides")
    ease = command.add_argument_group("of --model ease")
    for option in TRAINING_OPTIONS.values():
        group = opal if option.name in OPAL_ONLY else recipe
        _add_model_option(group, option.name, option.parse, option.help)
    _add_model_option(
        trained,
        "yardsticks",
        _yardsticks,
        "what else to measure on the data: pop,itemknn,ease, none, or auto, what costs little "
        "(default: auto)",
    )
    _add_model_option(
        trained,
        "fit_on",
        str,
        "all: when validation has chosen stage, steps, L and β, train anew on validation and test "
        "part too (default: train)",
        choices=("train", "all"),
    )
    _add_model_option(
        trained,
        "device",
        str,
        "auto: CUDA where there is a GPU (default: auto)",
        choices=("auto", "cpu", "cuda"),
    )
    _add_model_option(ease, "ease_l2", float, "λ of --model ease (default: 200)")
    command.set_defaults(action=_train, describe=describe_run)


def _add_model_option(
    group: Any,
    name: str,
    kind: Callable[[str], Any],
    text: str,
    choices: Sequence[str] | None = None,
) -> None:
    """Add an option that is absent where it is not given, so that a model can refuse it."""
    group.add_argument(
        option_name(name),
        dest=name,
        type=kind,
        default=argparse.SUPPRESS,
        help=text,
        choices=choices,
    )


def _yardsticks(text: str) -> tuple[str, ...] | None:
    """Parse ``--yardsticks``; None: auto."""
    if text == "auto":
        return None
    names = () if text == "none" else tuple(text.split(","))
    if unknown := set(names) - set(YARDSTICKS):
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(sorted(unknown))!r}; expected auto, none, or some of "
            f"{','.join(YARDSTICKS)}"
        )
    return names


def _train(arguments: argparse.Namespace) -> Result:
    given = _model_options(arguments)
    if arguments.model in YARDSTICKS:
        return _train_yardstick(arguments, given)
    yardsticks = given.pop("yardsticks", None)
    fit_on, device = given.pop("fit_on", "train"), given.pop("device", "auto")
    recipe = given.pop("recipe", "default")
    config = TrainingConfig.for_recipe(recipe, given, model=arguments.model)
    if idle := config.idle_options() & given.keys():
        names = ", ".join(map(option_name, sorted(idle)))
        raise InputError(f"{names}: of no use with the other options; leave it out")
    import torch

    from model.runtime.interruption import Stopped
    from model.runtime.memory import keep_freed_memory
    from model.runtime.runtime import open_runtime
    from model.training.fit import fit

    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    with open_runtime(device) as runtime:
        leads = runtime.processes.leads
        if not leads:  # torchrun's other processes work in silence
            logging.disable(logging.INFO)
        try:
            result = fit(
                arguments.dataset,
                arguments.out,
                config,
                resume=arguments.resume,
                yardsticks=yardsticks,
                fit_on=fit_on,
                runtime=runtime,
            )
        except Stopped as stopped:
            if stopped.signal != signal.SIGTERM:
                raise OpalError(str(stopped)) from None
            result = {"stopped": str(stopped)}
        except OpalError:
            if leads:
                raise
            sys.exit(1)
    return result if leads else sys.exit(0)


def _train_yardstick(arguments: argparse.Namespace, given: dict[str, Any]) -> Result:
    import torch

    from model.baselines.yardstick_run import fit_yardstick

    torch.set_num_threads(arguments.threads)
    return fit_yardstick(
        arguments.dataset,
        arguments.out,
        arguments.model,
        {"l2": given["ease_l2"]} if given else None,
        resume=arguments.resume,
    )


def _model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were given and that not all models take.

    Raises:
        InputError: One that the model does not take.
    """
    known = set().union(*_OPTIONS_OF.values())
    given = {name: value for name, value in vars(arguments).items() if name in known}
    foreign = given.keys() - _OPTIONS_OF.get(arguments.model, set())
    if foreign:
        names = ", ".join(map(option_name, sorted(foreign)))
        raise InputError(f"{names}: --model {arguments.model} has no use for it; leave it out")
    return given
