"""What all commands share: exit status, one line for people, JSON alone on stdout."""

import argparse
import json
from typing import Any

import pytest

from model.command import NegativeError, Result, add_json_option, fail, run_command
from model.errors import BundleError, InputError, OpalError, RegistryError


def run(action: Any, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_json_option(parser)
    return run_command(
        action, parser.parse_args(arguments), describe=lambda result: f"answer: {result['answer']}"
    )


def answer(_: argparse.Namespace) -> Result:
    return {"answer": 42, "text": "naïve"}


def test_a_result_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(answer) == 0
    assert capsys.readouterr() == ("answer: 42\n", "")


def test_with_json_stdout_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(answer, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"answer": 42, "text": "naïve"}


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("log.csv: line 3"), "log.csv: line 3"),
        (BundleError("damaged"), "damaged"),
        (RegistryError("empty"), "empty"),
        (OSError(28, "No space left on device", "out/x"), "No space left on device: out/x"),
        (OSError("broken pipe or so"), "broken pipe or so: no file named"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    line: str,
    options: tuple[str, ...],
) -> None:
    def action(_: argparse.Namespace) -> Result:
        raise error

    assert run(action, *options) == 1
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize(
    ("options", "out"), [((), "answer: no\n"), (("--json",), '{\n  "answer": "no"\n}\n')]
)
def test_a_negative_answer_is_told_in_full_with_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], out: str
) -> None:
    def action(_: argparse.Namespace) -> Result:
        raise NegativeError("2 problems", {"answer": "no"})

    assert run(action, *options) == 1
    assert capsys.readouterr() == (out, "error: 2 problems\n")


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    def action(_: argparse.Namespace) -> Result:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(action)


def test_failing_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail("no") == 1
    assert capsys.readouterr().err == "error: no\n"


def test_every_error_for_people_is_an_opal_error() -> None:
    assert all(issubclass(kind, OpalError) for kind in (InputError, BundleError, RegistryError))
