"""Open a bundle: one immutable version of encoder, index, catalog and metadata.

Nothing that does not pass is returned: checksums, shapes, then the probes, which also warm up
what was mapped. ``index.bundles.build`` is the writer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.bundles.catalog import CATEGORIES_FILE, ITEMS_FILE, LOOKUP_FILE, POPULAR_FILE, Catalog
from index.bundles.manifest import (
    Manifest,
    file_entry,
    manifest_bytes,
    parse_manifest,
    read_manifest,
)
from index.bundles.probes import PROBE_FILE, check_probes, open_probes
from index.bundles.signing import KEY_VARIABLE, SIGNATURE_FILE, signature_of, signing_keys
from index.kinds.implementations import implementation_of, open_index
from index.kinds.tunable_index import TunableIndex
from model.errors import BundleError, InputError
from model.files import replace_file, sweep_staging
from model.inference.encoder import UserEncoder
from model.inference.loading import ENCODER_FILE, load_encoder

REPORT_FILE = "report.html"
REQUIRED_FILES = (
    ENCODER_FILE,
    ITEMS_FILE,
    CATEGORIES_FILE,
    LOOKUP_FILE,
    POPULAR_FILE,
    PROBE_FILE,
    REPORT_FILE,
)
"""In every bundle; the name of the index's own file goes by its kind."""


@dataclass(frozen=True, repr=False)
class Bundle:
    """A bundle that is open.

    Attributes:
        path: Its folder.
        manifest: What it says of itself.
        encoder: History → interests.
        item_index: Interests → item rows.
        catalog: Item rows → ids and metadata.
    """

    path: Path
    manifest: Manifest
    encoder: UserEncoder
    item_index: TunableIndex
    catalog: Catalog

    def __repr__(self) -> str:
        return f"<Bundle {self.version}, {self.catalog.n_items} items, {self.item_index.kind}>"

    @property
    def version(self) -> str:
        """The version's name."""
        return self.manifest.version


def open_bundle(
    path: Path, *, check: bool = True, threads: int = 1, rest: Callable[[], None] = lambda: None
) -> Bundle:
    """Open a bundle.

    Args:
        path: Its folder.
        check: Compare every file with its digest and ask the probes. Shapes are always checked.
        threads: OpenMP threads of one search.
        rest: Called after each small part of the work; sleeping in it leaves the processor, and the
            interpreter, to what else the process has to do.

    Raises:
        BundleError: It must not go live; names the file and the reason.
    """
    manifest = read_manifest(path)
    check_files(path, manifest, digests=check, rest=rest)
    try:
        encoder = load_encoder(path / ENCODER_FILE)
    except InputError as error:
        raise BundleError(f"{error}; build the bundle again") from error
    rest()
    item_index = open_index(
        path,
        kind=manifest.index.kind,
        factory=manifest.index.factory,
        item_vectors=encoder.item_vectors,
        parameters=manifest.index.parameters,
        threads=threads,
    )
    rest()
    bundle = Bundle(path, manifest, encoder, item_index, Catalog(path))
    _check_shapes(bundle)
    if check:
        promised = manifest.index.target_recall
        check_probes(encoder, item_index, open_probes(path), promised, rest=rest)
    return bundle


def check_files(
    path: Path,
    manifest: Manifest,
    *,
    digests: bool = True,
    rest: Callable[[], None] = lambda: None,
) -> None:
    """Compare the files of a bundle with its manifest.

    Args:
        path: Its folder.
        manifest: What it says of its files.
        digests: Compare SHA-256 too, not only sizes.
        rest: See ``open_bundle``.

    Raises:
        BundleError: Names the first file that is missing or not as it was written.
    """
    for problem in file_problems(path, manifest, digests=digests, rest=rest):
        raise BundleError(problem)


def file_problems(
    path: Path,
    manifest: Manifest,
    *,
    digests: bool = True,
    rest: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Yield, for each file that is not as the manifest says, what is wrong and what to do."""
    for name in (*REQUIRED_FILES, implementation_of(manifest.index.kind).file):
        if name not in manifest.files:
            yield f"{path}: the manifest does not list {name}; build it again"
    for name, expected in manifest.files.items():
        rest()
        file = path / name
        if not file.is_file():
            yield f"{file}: is missing; build or copy the bundle again"
        elif (size := file.stat().st_size) != expected.bytes:
            yield (
                f"{file}: has {size} bytes, the manifest says {expected.bytes}; "
                "build or copy the bundle again"
            )
        elif digests and file_entry(file)["sha256"] != expected.sha256:
            yield (
                f"{file}: damaged (SHA-256 differs from the manifest); "
                "build or copy the bundle again"
            )


def sign_bundle(path: Path) -> Manifest:
    """Sign a bundle that was built without the key, or with one that is being replaced.

    Only the signature is written, atomically: a bundle in a registry may be signed while it serves.

    Args:
        path: Its folder.

    Raises:
        InputError: The environment has no key.
        BundleError: It is damaged; what is damaged is not vouched for.
    """
    keys = signing_keys()
    if not keys:
        raise InputError(f"{KEY_VARIABLE} is not set; there is no key to sign with")
    content = manifest_bytes(path)  # once: what is checked is what is signed
    manifest = parse_manifest(path, content)
    check_files(path, manifest)
    sweep_staging(path)
    replace_file(path / SIGNATURE_FILE, signature_of(content, keys))
    return manifest


def _check_shapes(bundle: Bundle) -> None:
    """Check that the parts belong together."""
    expected = (bundle.manifest.catalog.items, bundle.manifest.catalog.dim)
    found = {
        "item vectors": bundle.encoder.item_vectors.shape,
        "catalog": (bundle.catalog.n_items, expected[1]),
        "interests": (expected[0], bundle.encoder.dim),
    }
    for part, shape in found.items():
        if shape != expected:
            raise BundleError(
                f"{bundle.path}: {part} have shape {shape}, the manifest says {expected}; "
                "build the bundle again"
            )
    if not np.isfinite(bundle.encoder.item_vectors).all():
        raise BundleError(f"{bundle.path / ENCODER_FILE}: item vectors are not all finite")
