"""``python -m index``: build, verify, publish, list, activate, roll back bundles."""

import argparse
import logging
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from model.command import Result, add_json_option, run_command

MEBIBYTE = 1 << 20


class _Command(NamedTuple):
    """What a sub-command does, and how its result reads without ``--json``."""

    run: Callable[[argparse.Namespace], Result]
    describe: Callable[[Result], str]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parsed = _parser().parse_args(arguments)
    # Faiss tells at length which instruction sets it looked for; nobody who builds needs that.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    command = COMMANDS[parsed.command]
    return run_command(command.run, parsed, describe=command.describe)


def build(arguments: argparse.Namespace) -> Result:
    """Turn a run into a bundle."""
    from index.build import build_bundle

    built = build_bundle(
        arguments.run,
        arguments.out,
        kind=arguments.kind,
        target_recall=arguments.recall,
        memory=None if arguments.memory is None else int(arguments.memory * MEBIBYTE),
        threads=arguments.threads,
    )
    return {"bundle": str(built.path), **_summary(built.manifest.model_dump())}


def verify(arguments: argparse.Namespace) -> Result:
    """Check a bundle as the service does before it goes live."""
    from index.bundle import open_bundle

    opened = open_bundle(arguments.bundle)
    return {"bundle": str(arguments.bundle), **_summary(opened.manifest.model_dump())}


def publish(arguments: argparse.Namespace) -> Result:
    """Copy a bundle into a registry and make it CURRENT."""
    from index.registry import Registry

    registry = Registry(arguments.registry)
    before = registry.versions()
    version = registry.publish(arguments.bundle, activate=not arguments.no_activate)
    return {
        "version": version,
        "new": version not in before,
        "current": registry.current(),
        "registry": str(arguments.registry),
    }


def list_versions(arguments: argparse.Namespace) -> Result:
    """List what is in a registry."""
    from index.registry import Registry
    from model.errors import RegistryError

    if not arguments.registry.is_dir():
        raise RegistryError(f"{arguments.registry}: no registry here; publish a bundle to make one")
    registry = Registry(arguments.registry)
    current, problem = None, None
    try:
        current = registry.current()
    except RegistryError as error:
        problem = str(error)  # whoever has to mend it needs the list
    return {
        "registry": str(arguments.registry),
        "current": current,
        "problem": problem,
        "bundles": [asdict(entry) for entry in registry.entries()],
    }


def activate(arguments: argparse.Namespace) -> Result:
    """Make a published version CURRENT."""
    from index.registry import Registry

    Registry(arguments.registry).activate(arguments.version)
    return {"current": arguments.version, "registry": str(arguments.registry)}


def rollback(arguments: argparse.Namespace) -> Result:
    """Go back to the version that was live before."""
    from index.registry import Registry

    version = Registry(arguments.registry).rollback()
    return {"current": version, "registry": str(arguments.registry)}


def _summary(manifest: Result) -> Result:
    return {name: manifest[name] for name in ("version", "catalog", "index", "metrics")}


def _describe_bundle(result: Result) -> str:
    index, catalog = result["index"], result["catalog"]
    return (
        f"{result['bundle']}: version {result['version']}, {catalog['items']} items, "
        f"index {index['kind']}, recall@100 {index['measured_recall']:.4f}"
    )


def _describe_publish(result: Result) -> str:
    published = "published" if result["new"] else "was published already"
    return f"{result['version']} {published}; CURRENT is {result['current'] or 'not set'}"


def _describe_list(result: Result) -> str:
    lines = [
        f"{'*' if entry['live'] else ' '} {entry['version']}  "
        + (entry["problem"] or f"{entry['model']} ({entry['stage']}), {entry['items']} items")
        for entry in result["bundles"]
    ]
    if result["problem"]:
        lines.append(result["problem"])
    return "\n".join(lines) or f"{result['registry']}: no bundles"


def _describe_current(result: Result) -> str:
    return f"CURRENT is {result['current']}"


COMMANDS = {
    "build": _Command(build, _describe_bundle),
    "verify": _Command(verify, _describe_bundle),
    "publish": _Command(publish, _describe_publish),
    "list": _Command(list_versions, _describe_list),
    "activate": _Command(activate, _describe_current),
    "rollback": _Command(rollback, _describe_current),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m index", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    parsers: dict[str, argparse.ArgumentParser] = {}
    for name, command in COMMANDS.items():
        about = command.run.__doc__ or ""
        parsers[name] = commands.add_parser(name, help=about, description=about)
        add_json_option(parsers[name])
    _add_build_options(parsers["build"])
    for name in ("verify", "publish"):
        parsers[name].add_argument("bundle", type=Path, help="a bundle's folder")
    parsers["publish"].add_argument(
        "--no-activate", action="store_true", help="leave CURRENT as it is"
    )
    parsers["activate"].add_argument("version", help="as `list` shows it")
    for name in ("publish", "list", "activate", "rollback"):
        parsers[name].add_argument(
            "--registry", type=Path, required=True, help="the folder of published bundles"
        )
    return parser


def _add_build_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="what `python -m model train` left")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder, a new one")
    parser.add_argument(
        "--kind",
        default="auto",
        help="auto (default), flat, ivf-sq, ivf-sq8, ivf-pq, hnsw, or a Faiss factory string",
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
        type=_fraction,
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


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
