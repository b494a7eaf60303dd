"""``python -m index verify|diff|sign``: what bundles are, wherever they lie."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.commands.subcommands import Subcommand, add_registry_option
from model.command import NegativeError, Result

if TYPE_CHECKING:
    from index.registry.registry import Registry
    from index.registry.verification import VerifiedRegistry


def verify(arguments: argparse.Namespace) -> Result:
    """Check a bundle as the service does before it goes live, or what is in a registry."""
    from index.registry.registry import Registry
    from index.registry.verification import verify_bundle

    if arguments.registry is not None:
        return _verify_registry(Registry(arguments.registry), arguments)
    bundle = verify_bundle(Path(arguments.bundle))
    if bundle.problems:
        raise NegativeError(_first_of(bundle.problems), bundle.to_json())
    return bundle.to_json()


def _verify_registry(registry: "Registry", arguments: argparse.Namespace) -> Result:
    from index.registry.verification import verify_registry

    registry.require()
    version = arguments.bundle
    if not arguments.all and version is None:
        version = registry.require_current(otherwise="verify with --all")
    found: VerifiedRegistry = verify_registry(registry, version)
    if found.all_problems:
        raise NegativeError(_first_of(found.all_problems), found.to_json())
    return found.to_json()


def _first_of(problems: list[str]) -> str:
    return problems[0] if len(problems) == 1 else f"{len(problems)} problems; first: {problems[0]}"


def diff(arguments: argparse.Namespace) -> Result:
    """Compare two bundles: items, metrics, index, and how much answers change."""
    from index.bundles.bundle import open_bundle
    from index.bundles.bundle_diff import diff_bundles

    before, after = (open_bundle(_locate(each, arguments.registry)) for each in _pair(arguments))
    return diff_bundles(before, after).to_json()


def _pair(arguments: argparse.Namespace) -> tuple[str, str]:
    """Return what is compared: with a registry, CURRENT stands in for the first."""
    from index.registry.registry import Registry

    if arguments.before is not None:
        return arguments.before, arguments.after
    current = Registry(arguments.registry).require_current(otherwise="name two bundles")
    return current, arguments.after


def _locate(name: str, registry: Path | None) -> Path:
    """Find a bundle: a version of the registry where there is one, else a folder."""
    from index.bundles.manifest import is_version_name
    from index.registry.registry import Registry

    if registry is not None and is_version_name(name):
        return Registry(registry).bundle_path(name)
    return Path(name)


def sign(arguments: argparse.Namespace) -> Result:
    """Sign a bundle with OPAL_SIGNING_KEY where it lies, be it in a registry."""
    from index.bundles.bundle import sign_bundle

    manifest = sign_bundle(arguments.bundle)
    return {"bundle": str(arguments.bundle), "version": manifest.version, "signed": True}


def describe_bundle(result: Result) -> str:
    """Say in a line what a bundle is."""
    index, catalog = result["index"], result["catalog"]
    return (
        f"{result['bundle']}: version {result['version']}, {catalog['items']} items, "
        f"index {index['kind']}, recall@100 {index['measured_recall']:.4f}"
    )


def _describe_verified(result: Result) -> str:
    bundles = result.get("bundles", [result])
    lines = list(result["problems"]) if "bundles" in result else []
    for bundle in bundles:
        lines += bundle["problems"] or [describe_bundle(bundle)]
    return "\n".join(lines) or f"{result['registry']}: no bundles"


def _describe_diff(result: Result) -> str:
    items = result["items"]
    lines = [
        f"{result['before']} → {result['after']}",
        f"items: {items['before']} → {items['after']}"
        + _few("added", items["added"], items["first_added"])
        + _few("removed", items["removed"], items["first_removed"]),
    ]
    lines += [
        f"{name}: {_number(each['before'])} → {_number(each['after'])}"
        for name, each in result["changes"].items()
    ]
    lines += [
        f"{part} {name}: {_number(each['before'])} → {_number(each['after'])}"
        + ("" if each["difference"] is None else f" ({_signed(each['difference'])})")
        for part, metrics in result["metrics"].items()
        for name, each in metrics.items()
    ]
    return "\n".join([*lines, *_describe_answers(result["answers"])])


def _describe_answers(answers: Result) -> list[str]:
    if not answers["compared"]:
        return [f"answers: none of {answers['probes']} probes has items that both bundles know"]
    correlation = answers["rank_correlation"]
    return [
        f"answers: overlap@100 {answers['overlap@100']:.4f} (least "
        f"{answers['least_overlap@100']:.4f}), rank correlation "
        + ("–" if correlation is None else f"{correlation:.4f}")
        + f"; {answers['compared']} of {answers['probes']} probes compared, "
        f"{answers['with_unknown_items']} of them with items that one bundle does not know"
    ]


def _few(what: str, number: int, first: list[str]) -> str:
    if not number:
        return f", none {what}"
    return f", {number} {what} ({', '.join(first)}{', …' if number > len(first) else ''})"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _signed(value: float) -> str:
    return f"{value:+d}" if isinstance(value, int) else f"{value:+.4f}"


def _add_verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundle", nargs="?", help="a bundle's folder; with --registry a version (default: CURRENT)"
    )
    parser.add_argument("--all", action="store_true", help="every version of the registry")
    add_registry_option(parser, required=False)


def _object_to_verify(arguments: argparse.Namespace) -> str | None:
    if arguments.registry is None:
        if arguments.all:
            return "--all goes with --registry"
        return None if arguments.bundle is not None else "name a bundle's folder, or --registry"
    return "name a version or --all, not both" if arguments.all and arguments.bundle else None


def _add_diff_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "before",
        nargs="?",
        help="a bundle's folder, or with --registry a version (default then: CURRENT)",
    )
    parser.add_argument("after", help="likewise")
    add_registry_option(parser, required=False)


def _object_to_diff(arguments: argparse.Namespace) -> str | None:
    alone = arguments.before is None and arguments.registry is None
    return "name two bundles, or one and --registry" if alone else None


def _add_sign_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a bundle's folder")


COMMANDS = {
    "verify": Subcommand(verify, _describe_verified, _add_verify_options, _object_to_verify),
    "diff": Subcommand(diff, _describe_diff, _add_diff_options, _object_to_diff),
    "sign": Subcommand(sign, lambda result: f"{result['bundle']}: signed", _add_sign_options),
}
