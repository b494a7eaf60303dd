"""What the three commands (``python -m model|index|service``) share: exit status, JSON, logs.

Exit status: 0 done, 1 refused or failed with one line on stderr, 2 wrong usage (argparse).
With ``--json`` stdout carries one JSON document and nothing else; logs and progress always go
to stderr.
"""

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from model.errors import OpalError

Result = dict[str, Any]


class NegativeError(OpalError):
    """What was asked for was done, and the answer is no: a result to print, and exit status 1.

    Args:
        message: The line on stderr.
        result: The JSON document, or what is described, on stdout.
    """

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, which every command takes."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document on stdout, nothing else"
    )


def count(text: str) -> int:
    """Read an option's value that is a number from 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number from 1")
    return int(text)


def run_command(
    action: Callable[[argparse.Namespace], Result],
    arguments: argparse.Namespace,
    *,
    describe: Callable[[Result], str],
) -> int:
    """Run one command and return its exit status.

    Args:
        action: Does the work; its result is the JSON document.
        arguments: What argparse made of the command line; ``json`` chooses the output.
        describe: Turns the result into the text printed without ``--json``.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    status = 0
    try:
        result = action(arguments)
    except NegativeError as error:
        result, status = error.result, fail(str(error))
    except OpalError as error:
        return fail(str(error))
    except OSError as error:
        # A full disk, a missing folder, no permission: the system's words and the path are enough.
        return fail(f"{error.strerror or error}: {error.filename or 'no file named'}")
    except KeyboardInterrupt:
        return fail("interrupted")
    text = json.dumps(result, indent=2) if arguments.json else describe(result)
    sys.stdout.write(text + "\n")
    return status


def fail(message: str) -> int:
    """Print one line on stderr and return exit status 1."""
    sys.stderr.write(f"error: {message}\n")
    return 1


def leave(main: Callable[[], int]) -> NoReturn:
    """Run a program and end this process with its exit status.

    Where ``torchrun`` started it, at once: threads of torch's process groups are taken down in no
    order at the end of Python, and now and then abort a process whose work is done and saved
    ("terminate called without an active exception").
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        sys.exit(main())
    try:
        status = main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
