"""``python -m model movielens|prepare|train|evaluate|compare``: arguments to calls."""

import argparse
from pathlib import Path
from typing import Any, get_args

from model.command import Result, add_json_option, count, leave, run_command
from model.comparison.command import add_compare
from model.data.dataset import prepare
from model.data.movielens import write_movielens
from model.data.splits import SplitChoice
from model.result_words import metrics_in_words
from model.train_command import add_train


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
    add_train(commands)
    _add_evaluate(commands)
    add_compare(commands)
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
    command.add_argument(
        "--split",
        choices=get_args(SplitChoice),
        default="auto",
        help="what is held out for validation and test: the log's last two days; of each user two "
        "tenths, or the last two interactions (default: days where the log has many)",
    )
    command.add_argument("--on-bad-row", choices=("stop", "skip"), default="stop")
    command.add_argument(
        "--min-weight", type=float, default=0.0, help="leave out interactions that weigh less"
    )
    command.set_defaults(action=_prepare, describe=_describe_prepare)


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser("evaluate", help="measure a finished run")
    command.add_argument("run", type=Path, metavar="RUN")
    command.add_argument("--part", choices=("test", "valid"), default="test")
    command.add_argument("--dataset", type=Path, help="where the data set is now, if it moved")
    command.add_argument(
        "--negatives",
        type=count,
        metavar="N",
        help="rank each target among N items drawn evenly instead of all, to compare with papers "
        "that do",
    )
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


def _evaluate(arguments: argparse.Namespace) -> Result:
    from model.training.fit import evaluate_run

    return evaluate_run(
        arguments.run,
        arguments.part,
        dataset_path=arguments.dataset,
        n_negatives=arguments.negatives,
    )


def _describe_movielens(result: Result) -> str:
    return f"{result['interactions']} ratings of {result['items']} titles from {result['source']}"


def _describe_prepare(result: Result) -> str:
    return (
        f"{result['interactions']} interactions of {result['users']} users with "
        f"{result['items']} items; {result['skipped_rows']} rows skipped\n"
        f"split: {result['split']} ({result['split_reason']}): {result['train']} training, "
        f"{result['valid']} validation, {result['test']} test interactions"
    )


def _describe_evaluation(result: Result) -> str:
    among = f", each target among {result['negatives']} others" if "negatives" in result else ""
    return f"{result['part']}{among}: {metrics_in_words(result['metrics'])}"


if __name__ == "__main__":
    leave(main)
