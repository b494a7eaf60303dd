"""The options of ``compare``."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from model.comparison.command import MODELS, add_compare


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_compare(made.add_subparsers())
    return made


def parse(parser: argparse.ArgumentParser, *options: str) -> Any:
    return parser.parse_args(["compare", "data", "--out", "out", *options])


def test_by_default_all_models_are_compared_with_one_seed(parser: argparse.ArgumentParser) -> None:
    found = parse(parser)

    assert found.datasets == [Path("data")]
    assert found.models == MODELS
    assert found.seeds == {"": 1}
    assert found.recipes == ("default",)
    assert (found.ks, found.ablations, found.jobs, found.options) == ((), False, 1, [])


def test_options_are_parsed_as_those_of_training(parser: argparse.ArgumentParser) -> None:
    found = parse(
        parser,
        *("--models", "pop,opal", "--seeds", "3,yelp=1,a=b=2", "--recipe", "paper,default"),
        *("--k", "4,1,2", "--option", "max-steps=60", "--option", "learn_recency=off"),
    )

    assert found.models == ("opal", "pop")
    assert found.seeds == {"": 3, "yelp": 1, "a=b": 2}
    assert found.recipes == ("paper", "default")
    assert found.ks == (1, 2, 4)
    assert found.options == [("max_steps", 60), ("learn_recency", False)]


def test_all_is_all(parser: argparse.ArgumentParser) -> None:
    assert parse(parser, "--models", "all").models == MODELS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--models", "opal,svd"), "unknown: 'svd'"),
        (("--recipe", "best"), "unknown: 'best'"),
        (("--seeds", "0"), "expected a number from 1"),
        (("--seeds", "yelp="), "expected a number from 1"),
        (("--k", "two"), "expected a number from 1"),
        (("--jobs", "-1"), "expected a number from 1"),
        (("--option", "max-steps"), "expected NAME=VALUE"),
        (("--option", "seed=3"), "expected NAME=VALUE"),
        (("--option", "dim=wide"), "'dim=wide'"),
        (("--option", "learn-recency=maybe"), "neither on nor off"),
    ],
)
def test_what_cannot_be_is_wrong_usage(
    parser: argparse.ArgumentParser,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, str],
    message: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(parser, *options)

    assert message in capsys.readouterr().err
