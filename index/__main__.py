"""``python -m index``: build, check, compare and sign bundles, and keep a registry of them."""

import argparse
import logging
import math
import os
import sys
from pathlib import Path

from index.commands import bundle_commands, registry_commands, renewal_commands
from index.commands.bundle_commands import describe_bundle
from index.commands.subcommands import Subcommand, fraction
from model.command import Result, add_json_option, run_command

MEBIBYTE = 1 << 20


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    # Faiss tells at length which instruction sets it looked for; nobody who builds needs that.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    command = COMMANDS[parsed.command]
    objection = command.objection(parsed)
    if objection is not None:
        parser.error(f"{parsed.command}: {objection}")
    return run_command(command.run, parsed, describe=command.describe)


def build(arguments: argparse.Namespace) -> Result:
    """Turn a run into a bundle."""
    from index.bundles.build import build_bundle
    from index.bundles.signing import signing_keys

    signing_keys()  # a key that cannot be used is told before the work, not after
    built = build_bundle(
        arguments.run,
        arguments.out,
        kind=arguments.kind,
        target_recall=arguments.recall,
        memory=None if arguments.memory is None else int(arguments.memory * MEBIBYTE),
        threads=arguments.threads,
    )
    return {"bundle": str(built.path), **_summary(built.manifest.model_dump())}


def _summary(manifest: Result) -> Result:
    return {name: manifest[name] for name in ("version", "catalog", "index", "metrics")}


def _add_build_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="what `python -m model train` left")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder, a new one")
    parser.add_argument(
        "--kind",
        default="auto",
        help="auto (default), flat, ivf-sq, ivf-sq8, ivf-pq, hnsw, a Faiss factory string, or "
        "scann, which auto never takes: whoever serves it has to have installed the extra scann",
    )
    parser.add_argument(
        "--memory",
        type=_megabytes,
        metavar="MIB",
        help="MiB that the index may take, which --kind auto minds (default: as many as it likes)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        choices=range(1, 257),
        metavar="N",
        default=os.cpu_count() or 1,
        help="threads of the building (default: one for each core)",
    )
    parser.add_argument(
        "--recall",
        type=fraction,
        default=0.95,
        help="share of the exact top 100 that the index must find (default: 0.95)",
    )


def _megabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of MiB above 0")
    return value


COMMANDS = {
    "build": Subcommand(build, describe_bundle, _add_build_options),
    **renewal_commands.COMMANDS,
    **bundle_commands.COMMANDS,
    **registry_commands.COMMANDS,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m index", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        about = command.run.__doc__ or ""
        added = commands.add_parser(name, help=about, description=about)
        add_json_option(added)
        command.add_options(added)
    return parser


if __name__ == "__main__":
    sys.exit(main())
