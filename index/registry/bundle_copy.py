"""Copy a bundle into a registry: whole under its name, or not at all."""

import logging
from pathlib import Path

from index.bundles.bundle import check_files
from index.bundles.manifest import (
    MANIFEST_FILE,
    Manifest,
    manifest_bytes,
    parse_manifest,
    read_manifest,
)
from index.bundles.signing import SIGNATURE_FILE, signature_of, signing_keys
from index.tensor_files import copy_file
from model.errors import BundleError
from model.files import new_folder, replace_file


def copy_bundle(source: Path, target: Path, manifest: Manifest) -> None:
    """Make ``target`` a copy of a bundle; a sound copy that is there stays as it is.

    Args:
        source: The bundle.
        target: Its folder in the registry.
        manifest: What was read and checked at ``source``.

    Raises:
        BundleError: The source changed in the meantime.
    """
    if _is_whole(target, source):
        _copy_signature(source, target)
        return
    with new_folder(target, replace=True) as folder:
        for name in [*manifest.files, MANIFEST_FILE]:
            copy_file(source / name, folder / name)
        if (source / SIGNATURE_FILE).exists():
            copy_file(source / SIGNATURE_FILE, folder / SIGNATURE_FILE)
        try:
            copied = read_manifest(folder)
            check_files(folder, copied)
        except BundleError as error:
            raise BundleError(f"{source}: changed while it was copied ({error})") from error
        if copied != manifest:
            raise BundleError(f"{source}: changed while it was copied; publish it again")


def _is_whole(target: Path, source: Path) -> bool:
    """Tell whether a copy is there and as it was written; its signature does not count."""
    if not target.exists():
        return False
    try:
        content = manifest_bytes(target)
        check_files(target, parse_manifest(target, content))
    except BundleError as error:
        logging.getLogger(__name__).warning("Replacing a damaged copy: %s", error)
        return False
    return content == manifest_bytes(source)


def _copy_signature(source: Path, target: Path) -> None:
    """Give a sound copy the signature that its source has got since; it may serve meanwhile.

    A better one is not replaced: with keys, one by the first of them; without, any.
    """
    signature, there = _signature(source), _signature(target)
    if signature is None or signature == there:
        return
    if keys := signing_keys():
        # The source's was checked when its manifest was read: by an older key, perhaps.
        signature = signature_of(manifest_bytes(target), keys)
    elif there is not None:
        return
    if signature != there:
        replace_file(target / SIGNATURE_FILE, signature)


def _signature(path: Path) -> bytes | None:
    try:
        return (path / SIGNATURE_FILE).read_bytes()
    except FileNotFoundError:
        return None
