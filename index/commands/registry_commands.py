"""``python -m index publish|list|activate|rollback|prune``: what is live, and what is kept."""

import argparse
from dataclasses import asdict
from pathlib import Path

from index.commands.subcommands import Subcommand, add_registry_option, count, fraction
from index.registry.admission import DEFAULT_TOLERANCE, Admission
from model.command import Result

_KIB = 1024


def publish(arguments: argparse.Namespace) -> Result:
    """Copy a bundle into a registry and make it CURRENT, unless it is worse than what is live."""
    from index.registry.registry import Registry

    registry = Registry(arguments.registry)
    before = registry.versions()
    admission = Admission(arguments.tolerance, force=arguments.force)
    version = registry.publish(
        arguments.bundle, activate=not arguments.no_activate, admission=admission
    )
    return {
        "version": version,
        "new": version not in before,
        "current": registry.current(),
        "registry": str(arguments.registry),
        "comparison": _comparison(admission),
    }


def list_versions(arguments: argparse.Namespace) -> Result:
    """List what is in a registry."""
    from index.registry.registry import Registry
    from model.errors import RegistryError

    registry = Registry(arguments.registry)
    registry.require()
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
    """Make a published version CURRENT, unless it is worse than what is live."""
    from index.registry.registry import Registry

    admission = Admission(arguments.tolerance, force=arguments.force)
    Registry(arguments.registry).activate(arguments.version, admission=admission)
    return {
        "current": arguments.version,
        "registry": str(arguments.registry),
        "comparison": _comparison(admission),
    }


def rollback(arguments: argparse.Namespace) -> Result:
    """Go back to the version that was live before."""
    from index.registry.registry import Registry

    version = Registry(arguments.registry).rollback()
    return {"current": version, "registry": str(arguments.registry)}


def prune(arguments: argparse.Namespace) -> Result:
    """Remove old versions; never CURRENT, nor what rollback would go to next."""
    from index.registry.registry import Registry

    registry = Registry(arguments.registry)
    removed = registry.prune(arguments.keep, dry_run=arguments.dry_run)
    gone = {each.version for each in removed}
    return {
        "registry": str(arguments.registry),
        "current": registry.current(),
        "dry_run": arguments.dry_run,
        "removed": [each._asdict() for each in removed],
        "bytes_freed": sum(each.bytes for each in removed),
        "kept": [version for version in registry.versions() if version not in gone],
    }


def _comparison(admission: Admission) -> Result | None:
    comparison = admission.comparison
    if comparison is None:
        return None
    return {
        **comparison._asdict(),
        "tolerance": admission.tolerance,
        "forced": admission.force and bool(comparison.worse),
    }


def _describe_publish(result: Result) -> str:
    published = "published" if result["new"] else "was published already"
    return (
        f"{result['version']} {published}; CURRENT is {result['current'] or 'not set'}"
        + _describe_force(result)
    )


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
    return f"CURRENT is {result['current']}" + _describe_force(result)


def _describe_force(result: Result) -> str:
    comparison = result.get("comparison")
    return (
        f" (forced: worse than {comparison['live']})" if comparison and comparison["forced"] else ""
    )


def _describe_prune(result: Result) -> str:
    verb = "would be removed" if result["dry_run"] else "removed"
    lines = [f"{each['version']} {verb}, {_size(each['bytes'])}" for each in result["removed"]]
    total = f"{len(lines)} {verb}, {_size(result['bytes_freed'])}; {len(result['kept'])} kept"
    return "\n".join([*lines, total])


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < _KIB:
            return f"{n_bytes:.4g} {unit}"
        n_bytes /= _KIB
    return f"{n_bytes:.4g} GiB"


def _add_publish_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a bundle's folder")
    parser.add_argument(
        "--no-activate", action="store_true", help="leave CURRENT as it is; nothing is compared"
    )
    _add_admission_options(parser)
    add_registry_option(parser)


def _add_activate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", help="as `list` shows it")
    _add_admission_options(parser)
    add_registry_option(parser)


def _add_admission_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerance",
        type=fraction,
        default=DEFAULT_TOLERANCE,
        help="how far validation recall@50, recall of the index and number of items may fall, as "
        f"a share of the live bundle's (default: {DEFAULT_TOLERANCE})",
    )
    parser.add_argument("--force", action="store_true", help="make it live although it is worse")


def _add_prune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep", type=count, required=True, help="how many of the newest versions stay"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    add_registry_option(parser)


COMMANDS = {
    "publish": Subcommand(publish, _describe_publish, _add_publish_options),
    "list": Subcommand(list_versions, _describe_list, add_registry_option),
    "activate": Subcommand(activate, _describe_current, _add_activate_options),
    "rollback": Subcommand(rollback, _describe_current, add_registry_option),
    "prune": Subcommand(prune, _describe_prune, _add_prune_options),
}
