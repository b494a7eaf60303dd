"""Which library stands behind a kind of index: the one place that knows them all.

Whoever builds asks by ``--kind``, whoever opens by the manifest's kind; what comes back is
searched, tuned and written by its seam.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from index.kinds.faiss_files import build_faiss_index, open_faiss_index
from index.kinds.kinds import SCANN
from index.kinds.scann_index import build_scann_index, open_scann_index
from index.kinds.tunable_index import TunableIndex
from model.arrays import Floats


class Builder(Protocol):
    """Trains and fills an index. Raises InputError where that cannot be."""

    def __call__(self, item_vectors: Floats, *, kind: str, threads: int) -> TunableIndex:
        """Build; shape of ``item_vectors``: (n_items, d), float32."""


class Opener(Protocol):
    """Opens what ``TunableIndex.save`` wrote. Raises BundleError where that cannot be."""

    def __call__(
        self,
        path: Path,
        *,
        kind: str,
        factory: str,
        item_vectors: Floats,
        parameters: Mapping[str, float] | None,
        threads: int,
        mapped: bool,
    ) -> TunableIndex:
        """Open; see ``open_index``."""


class Implementation(NamedTuple):
    """What a kind of index is made by.

    Attributes:
        file: Name of the index's file in a bundle.
        words: What ``TunableIndex.factory`` is, for a person.
        build: See ``Builder``.
        open: See ``Opener``.
    """

    file: str
    words: str
    build: Builder
    open: Opener


_FAISS = Implementation("index.faiss", "Faiss factory", build_faiss_index, open_faiss_index)
_OTHERS = {
    SCANN: Implementation("index.scann", "ScaNN", build_scann_index, open_scann_index),
}
"""By the kind that asks for them; any other kind is Faiss's, a name or a factory string."""


def implementation_of(kind: str) -> Implementation:
    """Return what stands behind a kind, be it asked for or read from a manifest."""
    return _OTHERS.get(kind, _FAISS)


def build_index(item_vectors: Floats, *, kind: str, threads: int = 1) -> TunableIndex:
    """Train and fill an index; its operating point is a default until it is tuned.

    Args:
        item_vectors: Shape (n_items, d), float32; row = item row.
        kind: A name of ``index.kinds.kinds`` or a Faiss factory string.
        threads: Of the building.

    Raises:
        InputError: The kind is not known, not installed, or cannot be trained on these vectors.
    """
    return implementation_of(kind).build(item_vectors, kind=kind, threads=threads)


def open_index(
    folder: Path,
    *,
    kind: str,
    factory: str,
    item_vectors: Floats,
    parameters: Mapping[str, float] | None = None,
    threads: int = 1,
    mapped: bool = True,
) -> TunableIndex:
    """Open the index of a bundle.

    Args:
        folder: The bundle.
        kind: As its manifest has it; so are ``factory`` and ``parameters``.
        factory: What it was made from.
        item_vectors: Of the bundle's encoder. Shape (n_items, d), float32.
        parameters: The operating point.
        threads: Of one search.
        mapped: All workers share the file where the library can do that; else it can be changed.

    Raises:
        BundleError: It cannot be read, does not fit the rest, or its library is not installed.
    """
    implementation = implementation_of(kind)
    return implementation.open(
        folder / implementation.file,
        kind=kind,
        factory=factory,
        item_vectors=item_vectors,
        parameters=parameters,
        threads=threads,
        mapped=mapped,
    )
