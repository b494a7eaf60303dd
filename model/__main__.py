"""``python -m model movielens|prepare|train|evaluate``: arguments to calls."""

import argparse
import sys
from pathlib import Path
from typing import Any

from model.command import Result, add_json_option, run_command
from model.config import TrainingConfig
from model.dataset import prepare
from model.movielens import write_movielens

_DEFAULTS = TrainingConfig()

# Options of `train` that are fields of TrainingConfig: (field, type, help).
_TRAINING_OPTIONS: list[tuple[str, type, str]] = [
    ("k", int, "interests per user = number of hyper-categories"),
    ("dim", int, "embedding and hidden size"),
    ("max_len", int, "interactions of a history that count"),
    ("batch_size", int, "sequences per step"),
    ("n_negatives", int, "shared negatives per step (default: the batch size)"),
    ("temperature", float, "temperature of assignment and scores"),
    ("learning_rate", float, "of Adam"),
    ("weight_decay", float, "of Adam"),
    ("averaging", float, "decay per step of the weights' moving average that is kept; 0: none"),
    ("eval_every", int, "steps between validations"),
    ("patience", int, "validations without gain before a stage ends"),
    ("max_steps", int, "steps of a stage at most"),
    ("seed", int, "of initialisation and sampling"),
]


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    return run_command(arguments.action, arguments, describe=arguments.describe)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model", description="Interaction log in, trained and measured encoder out."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_movielens(commands)
    _add_prepare(commands)
    _add_train(commands)
    _add_evaluate(commands)
    for command in commands.choices.values():
        add_json_option(command)
    return parser


def _add_movielens(commands: Any) -> None:
    command = commands.add_parser(
        "movielens", help="write the demo's log: MovieLens 100K, or the official files of SOURCE"
    )
    command.add_argument("--out", type=Path, required=True, help="folder to make")
    command.add_argument("--source", type=Path, help="folder with official ml-100k or ml-1m files")
    command.set_defaults(action=_movielens, describe=_describe_movielens)


def _add_prepare(commands: Any) -> None:
    command = commands.add_parser("prepare", help="check a log, split it, number users and items")
    command.add_argument("--interactions", type=Path, required=True, help="CSV or Parquet, or both")
    command.add_argument("--items", type=Path, help="item_id, title, category, url")
    command.add_argument("--out", type=Path, required=True, help="data set folder to make")
    command.add_argument("--split", choices=("auto", "day", "user"), default="auto")
    command.add_argument("--on-bad-row", choices=("stop", "skip"), default="stop")
    command.add_argument(
        "--min-weight", type=float, default=0.0, help="leave out interactions that weigh less"
    )
    command.set_defaults(action=_prepare, describe=_describe_prepare)


def _add_train(commands: Any) -> None:
    command = commands.add_parser("train", help="train both stages of a model and measure it")
    command.add_argument("dataset", type=Path, metavar="DATASET")
    command.add_argument("--out", type=Path, required=True, help="run folder to make")
    command.add_argument("--model", choices=("opal",), default="opal")
    command.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    # Steps are small: on two busy cores a second thread only waits (10 × slower, measured).
    command.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    for name, kind, text in _TRAINING_OPTIONS:
        default = getattr(_DEFAULTS, name)
        note = "" if default is None else f" (default: {default})"
        option = "--" + name.replace("_", "-")
        command.add_argument(option, dest=name, type=kind, default=default, help=text + note)
    command.set_defaults(action=_train, describe=_describe_run)


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser("evaluate", help="measure a finished run")
    command.add_argument("run", type=Path, metavar="RUN")
    command.add_argument("--part", choices=("test", "valid"), default="test")
    command.add_argument("--dataset", type=Path, help="where the data set is now, if it moved")
    command.set_defaults(action=_evaluate, describe=_describe_evaluation)


def _movielens(arguments: argparse.Namespace) -> Result:
    return write_movielens(arguments.out, arguments.source)


def _prepare(arguments: argparse.Namespace) -> Result:
    return prepare(
        arguments.interactions,
        arguments.out,
        items=arguments.items,
        split=arguments.split,
        on_bad_row=arguments.on_bad_row,
        min_weight=arguments.min_weight,
    )


def _train(arguments: argparse.Namespace) -> Result:
    config = TrainingConfig(**{name: getattr(arguments, name) for name, _, _ in _TRAINING_OPTIONS})
    import torch

    from model.fit import fit

    torch.set_num_threads(max(1, arguments.threads))
    return fit(arguments.dataset, arguments.out, config, resume=arguments.resume)


def _evaluate(arguments: argparse.Namespace) -> Result:
    from model.fit import evaluate_run

    return evaluate_run(arguments.run, arguments.part, dataset_path=arguments.dataset)


def _describe_movielens(result: Result) -> str:
    return f"{result['interactions']} ratings of {result['items']} titles from {result['source']}"


def _describe_prepare(result: Result) -> str:
    return (
        f"{result['interactions']} interactions of {result['users']} users with "
        f"{result['items']} items; {result['skipped_rows']} rows skipped\n"
        f"split: {result['split']} ({result['split_reason']}): {result['train']} training, "
        f"{result['valid']} validation, {result['test']} test interactions"
    )


def _describe_run(result: Result) -> str:
    lines = [
        f"{stage}, {part}: {_in_words(result['stages'][stage]['metrics'][part])}"
        for stage in result["stages"]
        for part in ("valid", "test")
    ]
    return "\n".join([*lines, f"chosen by validation: {result['stage']} stage"])


def _describe_evaluation(result: Result) -> str:
    return f"{result['part']}: {_in_words(result['metrics'])}"


def _in_words(metrics: dict[str, float]) -> str:
    names = [
        f"{kind}@{cutoff}" for kind in ("recall", "hitrate", "ndcg") for cutoff in (10, 20, 50)
    ]
    values = [f"{name} {metrics[name]:.4f}" for name in names if name in metrics]
    return ", ".join([*values, f"{metrics['users']} users"])


if __name__ == "__main__":
    sys.exit(main())
