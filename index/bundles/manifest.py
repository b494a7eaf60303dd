"""The manifest of a bundle: what it is, how good it is, and what must be in its files.

The version's name ends in a digest of everything else in the manifest, and the manifest holds the
digest of every file: a change anywhere in a bundle shows. That is against damage; against malice
there is ``index.bundles.signing``, and a manifest that fails it is not read.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    ValidationError,
)

from index.bundles.signing import SIGNATURE_FILE, check_signature, signature_of, signing_keys
from index.tensor_files import write_bytes
from model.errors import BundleError

MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 1
READABLE_VERSIONS = (1,)

VERSION_PATTERN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")

# A plain name: no separator and no leading dot, so that no path leads out of the bundle.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Metrics = dict[str, int | FiniteFloat]
Fraction = Annotated[float, Field(ge=0, le=1)]


def is_version_name(name: str) -> bool:
    """Tell whether a text is a version's name; such a name cannot lead out of a registry."""
    return VERSION_PATTERN.fullmatch(name) is not None


def _version(name: str) -> str:
    if not is_version_name(name):
        raise ValueError(f"{name!r} is not a version's name")
    return name


class _Part(BaseModel):
    """Frozen; fields that a later program added are kept out of sight, not refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FileEntry(_Part):
    """What a file must be."""

    sha256: str
    bytes: int


class ModelEntry(_Part):
    """The trained model; ``fit_on`` all: trained anew on everything after it was validated."""

    name: str
    stage: str
    hyper_parameters: dict[str, Any]
    fit_on: str = "train"


class CatalogEntry(_Part):
    """Size of the item vectors; how many of them no training has made."""

    items: int
    dim: int
    cold: int = 0


class DerivedEntry(_Part):
    """The bundle that this one was made from, and the items that make the difference."""

    version: str
    added: int = 0
    removed: int = 0


class PointEntry(_Part):
    """An operating point: what was found of each interest's top 100, and the time of one user."""

    parameters: dict[str, FiniteFloat]
    recall: Fraction
    milliseconds: FiniteFloat


class IndexEntry(_Part):
    """The index and its operating point.

    ``measured_recall`` is of the probes' answers, merged over interests; ``curve`` of each
    interest's own list (``index.bundles.tuning``). ``tuned_items`` is how many items there were
    when it was built and tuned; a bundle that ``index build`` made has them all still, and does not
    say. What a bundle of an earlier program does not say is empty.
    """

    kind: str
    factory: str
    metric: str
    target_recall: Fraction
    measured_recall: Fraction
    parameters: dict[str, FiniteFloat] = {}
    bytes_per_item: FiniteFloat | None = None
    flat_milliseconds: FiniteFloat | None = None
    curve: list[PointEntry] = []
    tuned_items: int | None = None


class OfflineMetrics(_Part):
    """Metrics of training (``recall@10``, ``hitrate@50``, …), as fractions."""

    valid: Metrics
    test: Metrics


class Manifest(_Part):
    """``manifest.json``."""

    format_version: int
    version: Annotated[str, AfterValidator(_version)]
    created: str
    git_revision: str | None
    model: ModelEntry
    catalog: CatalogEntry
    index: IndexEntry
    metrics: OfflineMetrics
    dataset: dict[str, Any]
    derived_from: DerivedEntry | None = None
    files: dict[FileName, FileEntry]


def write_manifest(folder: Path, content: dict[str, Any]) -> Manifest:
    """Name the version and write ``manifest.json``, the last file of a bundle, and its signature.

    It is signed where the environment has a key.

    Args:
        folder: The bundle so far; every file in it is entered with its digest.
        content: The manifest without ``format_version``, ``version``, ``created``, ``files``.

    Raises:
        BundleError: A field is missing or of the wrong type.
        InputError: The key cannot be used.
    """
    keys = signing_keys()
    files = {path.name: file_entry(path) for path in sorted(folder.iterdir())}
    created = datetime.now(UTC).isoformat(timespec="seconds")
    whole = {"format_version": FORMAT_VERSION, "created": created, **content, "files": files}
    document = {"version": _version_name(whole), **whole}
    manifest = _validated(document, Path(MANIFEST_FILE))  # its folder's name is yet to come
    written = _text(document).encode()
    write_bytes(folder / MANIFEST_FILE, written)
    if keys:
        write_bytes(folder / SIGNATURE_FILE, signature_of(written, keys))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``manifest.json``, and its signature where the environment has a key.

    Raises:
        BundleError: It is missing, of another format, not as it was written, not signed, or its
            folder is named like another version.
    """
    content = manifest_bytes(folder)
    check_signature(folder, content)
    return parse_manifest(folder, content)


def manifest_bytes(folder: Path) -> bytes:
    """Return the manifest as it lies there, unchecked.

    Raises:
        BundleError: It is missing.
    """
    path = folder / MANIFEST_FILE
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{path}: no such file; is {folder} a bundle?") from None


def parse_manifest(folder: Path, content: bytes) -> Manifest:
    """Check what was read of a manifest, all but its signature.

    Raises:
        BundleError: See ``read_manifest``.
    """
    path = folder / MANIFEST_FILE
    try:
        text = content.decode()
        document = json.loads(text)
    except RecursionError:
        raise BundleError(f"{path}: nested too deeply; the bundle is damaged") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BundleError(f"{path}: not JSON ({error}); the bundle is damaged") from error
    if not isinstance(document, dict) or "format_version" not in document:
        raise BundleError(f"{path}: has no format_version; the bundle is damaged")
    if document["format_version"] not in READABLE_VERSIONS:
        readable = ", ".join(str(each) for each in READABLE_VERSIONS)
        raise BundleError(
            f"{path}: format_version is {document['format_version']!r}, this program reads "
            f"{readable}; build the bundle again"
        )
    manifest = _validated(document, path)
    if is_version_name(folder.name) and folder.name != manifest.version:
        raise BundleError(
            f"{path}: is of version {manifest.version}, but its folder is named {folder.name}; "
            "publish the bundle instead of copying or renaming its folder"
        )
    if text != _text(document) or manifest.version != _version_name(document):
        raise BundleError(f"{path}: changed after it was written; build the bundle again")
    return manifest


def file_entry(path: Path) -> dict[str, Any]:
    """Measure a file for the manifest."""
    with path.open("rb") as file:
        return {
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            "bytes": path.stat().st_size,
        }


def _validated(document: dict[str, Any], path: Path) -> Manifest:
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(each) for each in first["loc"])
        raise BundleError(f"{path}: {field}: {first['msg']}; build the bundle again") from error


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def _version_name(document: dict[str, Any]) -> str:
    """Time of creation, which sorts, and a digest of all but the version itself."""
    rest = {name: value for name, value in document.items() if name != "version"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:8]
    try:
        created = datetime.fromisoformat(str(document["created"])).astimezone(UTC)
    except (ValueError, OverflowError):
        return ""
    return f"{created:%Y%m%dT%H%M%SZ}-{digest}"
