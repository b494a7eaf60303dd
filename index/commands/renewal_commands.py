"""``python -m index add-items|remove-items``: a new bundle between two trainings."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from index.commands.subcommands import Subcommand
from model.command import Result

if TYPE_CHECKING:
    from index.renewal.renewal import Renewed


def add_items(arguments: argparse.Namespace) -> Result:
    """Make a bundle that holds new items too: vectors from items that they are like."""
    from index.renewal import renewal

    renewed = renewal.add_items(_base(arguments), arguments.items, arguments.out)
    unknown = renewed.unknown_similar_to
    named = {"count": len(unknown), "first": unknown[: renewal.NAMED]}
    return _summary(renewed) | {"unknown_similar_to": named}


def remove_items(arguments: argparse.Namespace) -> Result:
    """Make a bundle without some items."""
    from index.renewal import renewal
    from model.data.items import read_item_ids

    file = arguments.items_file
    listed = [] if file is None else read_item_ids(file)
    return _summary(
        renewal.remove_items(_base(arguments), arguments.item_ids, arguments.out, listed=listed)
    )


def _base(arguments: argparse.Namespace) -> Path:
    """Return the bundle to begin with: the one named, or CURRENT."""
    from index.registry.registry import Registry

    if arguments.bundle is not None:
        return Path(arguments.bundle)
    registry = Registry(arguments.registry)
    return registry.bundle_path(registry.require_current(otherwise="name a bundle with --bundle"))


def _summary(renewed: "Renewed") -> Result:
    manifest = renewed.manifest.model_dump()
    names = ("version", "catalog", "index", "derived_from")
    said = {name: manifest[name] for name in names}
    return {"bundle": str(renewed.path), **said, "warnings": renewed.warnings}


def _describe(result: Result) -> str:
    catalog, derived = result["catalog"], result["derived_from"]
    return (
        f"{result['bundle']}: version {result['version']}, {catalog['items']} items "
        f"({derived['added']} added to {derived['version']}, {derived['removed']} removed; "
        f"{catalog['cold']} cold), recall@100 {result['index']['measured_recall']:.4f}"
    )


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    base = parser.add_mutually_exclusive_group(required=True)
    base.add_argument("--registry", type=Path, help="begin with the bundle that is CURRENT there")
    base.add_argument("--bundle", type=Path, help="begin with this bundle")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder, a new one")


def _add_add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "items",
        type=Path,
        help="CSV or Parquet: item_id, similar_to (ids, separated by |) or category, title, url",
    )
    _add_common_options(parser)


def _add_remove_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("item_ids", nargs="*", metavar="ITEM_ID", help="items to leave out")
    parser.add_argument(
        "--items-file",
        type=Path,
        metavar="PATH",
        help="more of them: one id a line, or CSV or Parquet with a column item_id",
    )
    _add_common_options(parser)


def _object_to_remove(arguments: argparse.Namespace) -> str | None:
    nothing = not arguments.item_ids and arguments.items_file is None
    return "name items, or a file of them with --items-file" if nothing else None


COMMANDS = {
    "add-items": Subcommand(add_items, _describe, _add_add_options),
    "remove-items": Subcommand(remove_items, _describe, _add_remove_options, _object_to_remove),
}
