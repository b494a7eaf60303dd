"""Signatures of manifests: where a key is set, nothing goes live but what its owner signed.

The manifest holds the digest of every file, so that a signature of the manifest covers the whole
bundle. It is an HMAC-SHA-256 over the manifest's very bytes and lies beside it. Whoever can check
it could also have made it: keep the key away from whoever may only write to the registry's volume.
"""

import hmac
import os
from pathlib import Path

from model.errors import BundleError, InputError

SIGNATURE_FILE = "manifest.sig"
KEY_VARIABLE = "OPAL_SIGNING_KEY"
SHORTEST_KEY = 32
"""Characters; 32 hexadecimal ones hold 128 bits."""

_SCHEME = "hmac-sha256"


def signing_keys() -> tuple[bytes, ...]:
    """Return the keys of the environment, of which the first signs; none where it has none.

    They are read where they are used: a caller who had to pass them on could forget to, and an
    unsigned bundle would go live.

    Raises:
        InputError: See ``parse_keys``.
    """
    text = os.environ.get(KEY_VARIABLE)
    return () if text is None else parse_keys(text)


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Split what the environment holds into keys.

    Args:
        text: Keys with commas between; white space around a key does not count.

    Raises:
        InputError: A key is too short. An empty text is one too: a secret that is lost on its way
            must not switch checking off. The message does not hold the key.
    """
    keys = [key.strip() for key in text.split(",")]
    for number, key in enumerate(keys, 1):
        if len(key) < SHORTEST_KEY:
            raise InputError(
                f"{KEY_VARIABLE}: key {number} of {len(keys)} is shorter than {SHORTEST_KEY} "
                "characters; take a longer one (`openssl rand -hex 32`), or unset the variable to "
                "go without signatures"
            )
    return tuple(key.encode("utf-8", "surrogateescape") for key in keys)


def signature_of(manifest: bytes, keys: tuple[bytes, ...]) -> bytes:
    """Return the content of ``manifest.sig``, made with the first key."""
    return f"{_SCHEME} {_digest(manifest, keys[0])}\n".encode()


def check_signature(folder: Path, manifest: bytes) -> None:
    """Check the signature of a manifest; without a key in the environment, every one passes.

    Args:
        folder: The bundle.
        manifest: The bytes of its manifest, as they were read.

    Raises:
        BundleError: It is not signed, or not with one of the keys.
        InputError: A key is too short.
    """
    keys = signing_keys()
    if not keys:
        return
    path = folder / SIGNATURE_FILE
    try:
        found = path.read_bytes().strip()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{path}: is missing, the bundle is not signed ({KEY_VARIABLE} is set); build it with "
            f"the key, or, if you trust it, `python -m index sign {folder}`"
        ) from None
    right = [f"{_SCHEME} {_digest(manifest, key)}".encode() for key in keys]
    # Every key is tried, so that the time taken tells nothing.
    if not any([hmac.compare_digest(found, each) for each in right]):  # noqa: C419
        raise BundleError(
            f"{path}: not a signature of this manifest by a key in {KEY_VARIABLE}; build the "
            f"bundle with the key, or, if you trust it, `python -m index sign {folder}`"
        )


def _digest(manifest: bytes, key: bytes) -> str:
    return hmac.new(key, manifest, "sha256").hexdigest()
