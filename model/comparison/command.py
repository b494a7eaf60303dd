"""``python -m model compare``: arguments to calls."""

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from model.baselines.names import YARDSTICKS
from model.command import NegativeError, Result, count
from model.config.training_config import Recipe
from model.config.training_options import TRAINING_OPTIONS
from model.errors import InputError
from model.files import locked, replace_file
from model.model_names import TRAINABLE_MODELS

MODELS = (*TRAINABLE_MODELS, *YARDSTICKS)

logger = logging.getLogger(__name__)


def add_compare(commands: Any) -> None:
    """Add the command to those of ``python -m model``."""
    command = commands.add_parser(
        "compare",
        help="train and measure models side by side, on your own data; go on where it stopped",
    )
    command.add_argument("datasets", type=Path, nargs="+", metavar="DATASET")
    command.add_argument("--out", type=Path, required=True, help="folder of cells and report")
    command.add_argument(
        "--models",
        type=_models,
        default=MODELS,
        metavar="NAME,…",
        help=f"some of {', '.join(MODELS)}, or all (default: all)",
    )
    command.add_argument(
        "--seeds",
        type=_seeds,
        default={"": 1},
        metavar="N,DATASET=N,…",
        help="trainings of each model, with seeds 0 to N − 1; DATASET=N says otherwise for a data "
        "set, such as 3,yelp=1 (default: 1)",
    )
    command.add_argument(
        "--recipe",
        dest="recipes",
        type=_recipes,
        default=("default",),
        metavar="NAME,…",
        help="default: what OPAL's default recipe does is offered to all; paper: each as its own "
        "paper says; both separated by a comma: a table of each (default: default)",
    )
    command.add_argument(
        "--k",
        dest="ks",
        type=_ks,
        default=(),
        metavar="K,…",
        help="study these numbers of interests too, such as 1,2,4,8,16",
    )
    command.add_argument(
        "--k-models",
        type=_models,
        default=MODELS,
        metavar="NAME,…",
        help="of which of the models (default: all that have several interests)",
    )
    command.add_argument(
        "--ablations", action="store_true", help="study OPAL with one thing left out at a time too"
    )
    command.add_argument(
        "--study",
        dest="studied",
        type=lambda text: tuple(text.split(",")),
        metavar="DATASET,…",
        help="names of the data sets that --k and --ablations are of (default: all)",
    )
    command.add_argument(
        "--option",
        dest="options",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of `train` for all trainings, such as max-steps=2000; may be repeated",
    )
    command.add_argument(
        "--jobs", type=count, default=1, help="trainings at a time, one thread each (default: 1)"
    )
    command.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: CUDA where there is a GPU (default: auto)",
    )
    command.add_argument(
        "--report-only", action="store_true", help="write the report of what is finished"
    )
    command.set_defaults(action=_compare, describe=_describe)


def _compare(arguments: argparse.Namespace) -> Result:
    from model.comparison.plan import Request, make_plan, require_targets

    request = Request(
        datasets=arguments.datasets,
        out=arguments.out,
        models=arguments.models,
        recipes=arguments.recipes,
        seeds=arguments.seeds,
        ks=arguments.ks,
        k_models=arguments.k_models,
        ablations=arguments.ablations,
        studied=arguments.studied,
        options=dict(arguments.options),
    )
    plan = make_plan(request)
    if not arguments.report_only:
        require_targets(plan)
    out = request.out
    out.mkdir(parents=True, exist_ok=True)
    with locked(out) as mine:
        if not mine:
            raise InputError(f"{out}: another comparison is at work there; wait for its end")
        for cell in plan.cells:
            if problem := cell.damage():
                then = "it counts as missing" if arguments.report_only else "it is run again"
                logger.warning("%s: %s; %s", cell.folder, problem, then)
        failed: dict[Path, str] = {}
        if not arguments.report_only:
            from model.comparison.running import run_cells

            failed = run_cells(plan.cells, out, jobs=arguments.jobs, device=arguments.device)
        result = _write(plan, failed, out)
    if result["failed"]:
        what = "; ".join(f"{label}: {why}" for label, why in result["failed"].items())
        raise NegativeError(f"{len(result['failed'])} cells failed: {what}", result)
    return result


def _write(plan: Any, failed: dict[Path, str], out: Path) -> Result:
    """Write the report; return the document.

    Args:
        plan: What was asked for.
        failed: Why, of cells that just failed, by folder; a full disk may not have taken it.
        out: Where to.
    """
    from model.comparison.markdown import write_markdown
    from model.comparison.page import write_page
    from model.comparison.plan import MARKDOWN_FILE, REPORT_FILE, RESULTS_FILE
    from model.comparison.summary import Summary

    logger.info("writing the report")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its search for fonts
    summary = Summary(plan, failed)
    report = summary.report()
    result = {
        "out": str(out),
        "report": str(out / REPORT_FILE),
        "markdown": str(out / MARKDOWN_FILE),
        **summary.document(),
    }
    replace_file(out / REPORT_FILE, write_page(report))
    replace_file(out / MARKDOWN_FILE, write_markdown(report, REPORT_FILE))
    replace_file(out / RESULTS_FILE, json.dumps(result, indent=2) + "\n")
    return result


def _describe(result: Result) -> str:
    lines = [
        " ".join(
            [
                each["dataset"],
                *([each["recipe"]] if each["recipe"] else []),  # a yardstick has none
                *(each["model"], each["variant"]),
                f"recall@50 {each['values']['recall@50']['mean']:.4f}",
                f"({each['seeds']} seeds)",
            ]
        )
        for each in result["results"]
        if "recall@50" in each["values"]
    ]
    if result["missing"]:
        lines.append(f"{len(result['missing'])} cells are not run yet")
    return "\n".join([*lines, f"report: {result['report']}, {result['markdown']}"])


def _models(text: str) -> tuple[str, ...]:
    """Parse ``--models``; the result is in the order of the tables."""
    return MODELS if text == "all" else _some_of(text, MODELS)


def _recipes(text: str) -> tuple[str, ...]:
    """Parse ``--recipe``; studies are of the first that is named."""
    known = get_args(Recipe)
    _some_of(text, known)
    return tuple(dict.fromkeys(text.split(",")))


def _some_of(text: str, known: Sequence[str]) -> tuple[str, ...]:
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown)!r}; expected some of {','.join(known)}"
        )
    return tuple(name for name in known if name in names)


def _seeds(text: str) -> dict[str, int]:
    """Parse ``--seeds``; the name of all data sets that are not named is empty."""
    seeds = {"": 1}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        seeds[name] = count(number)
    return seeds


def _ks(text: str) -> tuple[int, ...]:
    return tuple(sorted({count(part) for part in text.split(",")}))


_OWN_OPTIONS = {"recipe", "seed"}


def _option(text: str) -> tuple[str, Any]:
    """Parse ``--option``."""
    given, equals, value = text.partition("=")
    name = given.replace("-", "_")
    allowed = TRAINING_OPTIONS.keys() - _OWN_OPTIONS
    if not equals or name not in allowed:
        names = ", ".join(each.replace("_", "-") for each in TRAINING_OPTIONS if each in allowed)
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME=VALUE, NAME of {names}")
    parse: Callable[[str], Any] = TRAINING_OPTIONS[name].parse
    try:
        return name, parse(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
