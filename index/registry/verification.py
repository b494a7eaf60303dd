"""Find everything that is wrong with a bundle or a registry, where opening stops at the first."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from index.bundles.bundle import file_problems, open_bundle
from index.bundles.manifest import Manifest, read_manifest
from index.registry.live_history import LiveHistory
from index.registry.registry import BUNDLES, Registry
from model.errors import BundleError, OpalError, RegistryError


@dataclass(frozen=True)
class VerifiedBundle:
    """What was found of one bundle.

    Attributes:
        path: Its folder.
        manifest: None where it cannot be read or trusted.
        problems: Each names the file, what is wrong and what to do; none: it can go live.
    """

    path: Path
    manifest: Manifest | None
    problems: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; without a readable manifest its values are null."""
        said = self.manifest.model_dump() if self.manifest else {}
        names = ("version", "catalog", "index", "metrics")
        return {
            "bundle": str(self.path),
            "problems": self.problems,
            **{name: said.get(name) for name in names},
        }


@dataclass(frozen=True)
class VerifiedRegistry:
    """What was found of a registry.

    Attributes:
        path: Its folder.
        current: What CURRENT names.
        problems: What is wrong with the registry itself.
        bundles: Those that were looked at, oldest first.
    """

    path: Path
    current: str | None
    problems: list[str] = field(default_factory=list)
    bundles: list[VerifiedBundle] = field(default_factory=list)

    @property
    def all_problems(self) -> list[str]:
        """Those of the registry, then those of its bundles."""
        return [*self.problems, *(each for bundle in self.bundles for each in bundle.problems)]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "registry": str(self.path),
            "current": self.current,
            "problems": self.problems,
            "bundles": [bundle.to_json() for bundle in self.bundles],
        }


def verify_bundle(path: Path) -> VerifiedBundle:
    """Check a bundle as the service does before it goes live, and every file although one fails.

    Args:
        path: Its folder.

    Raises:
        BundleError: There is no folder.
    """
    if not path.is_dir():
        read_manifest(path)  # says so
    try:
        manifest = read_manifest(path)
        problems = list(file_problems(path, manifest))
    except (BundleError, OSError) as error:
        return VerifiedBundle(path, None, [_in_words(error)])
    if not problems:
        try:
            open_bundle(path)
        except (OpalError, OSError) as error:
            text = _in_words(error)
            problems = [text if str(path) in text else f"{path}: {text}"]
    return VerifiedBundle(path, manifest, problems)


def verify_registry(registry: Registry, version: str | None = None) -> VerifiedRegistry:
    """Check one version, or all of them and what holds them together.

    Args:
        registry: Where they are.
        version: None: all, CURRENT and the history of what was live.

    Raises:
        RegistryError: There is no registry, or no such version.
    """
    registry.require()
    if version is not None:
        bundle = verify_bundle(registry.bundle_path(version))
        return VerifiedRegistry(registry.path, registry.current_or_none(), bundles=[bundle])
    current, problems = None, []
    try:
        current = registry.current()
        if current is not None:
            registry.bundle_path(current)
    except (RegistryError, OSError) as error:
        problems.append(_in_words(error))
    try:
        LiveHistory(registry.path).before(None, [])
    except (RegistryError, OSError) as error:
        problems.append(_in_words(error))
    folder = registry.path / BUNDLES
    bundles = [verify_bundle(folder / each) for each in registry.versions()]
    return VerifiedRegistry(registry.path, current, problems, bundles)


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}; see that it can be read"
    return str(error)
