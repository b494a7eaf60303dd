"""One line of a registry's list."""

from dataclasses import dataclass, field
from pathlib import Path

from index.bundles.manifest import read_manifest
from model.errors import BundleError


@dataclass(frozen=True)
class RegistryEntry:
    """One published version, as a list shows it.

    Attributes:
        version: Its name.
        live: It is CURRENT.
        created: When it was built, ISO 8601.
        model: Name of the model.
        stage: Stage of training.
        items: Size of the catalog.
        test_metrics: Offline metrics of the test part.
        problem: Why its manifest cannot be read; the other fields are then empty.
    """

    version: str
    live: bool
    created: str = ""
    model: str = ""
    stage: str = ""
    items: int = 0
    test_metrics: dict[str, int | float] = field(default_factory=dict)
    problem: str | None = None


def describe(bundle_path: Path, *, live: bool) -> RegistryEntry:
    """Describe a published bundle by its manifest; a damaged one by its problem.

    Args:
        bundle_path: Its folder, named after its version.
        live: It is CURRENT.
    """
    version = bundle_path.name
    try:
        manifest = read_manifest(bundle_path)
    except BundleError as error:
        return RegistryEntry(version, live, problem=str(error))
    return RegistryEntry(
        version,
        live,
        created=manifest.created,
        model=manifest.model.name,
        stage=manifest.model.stage,
        items=manifest.catalog.items,
        test_metrics=manifest.metrics.test,
    )
