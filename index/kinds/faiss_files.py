"""Faiss indexes: built from a factory string, opened memory-mapped."""

from collections.abc import Mapping
from pathlib import Path

import faiss
import numpy as np

from index.kinds.faiss_index import FaissItemIndex, reason_of
from index.kinds.kinds import AUTO, FLAT, named_kinds
from index.kinds.transforms import require_inner_products
from index.kinds.tunable_index import RESCORING
from model.arrays import Floats
from model.errors import BundleError, InputError


def build_faiss_index(
    item_vectors: Floats, *, kind: str = FLAT, threads: int = 1
) -> FaissItemIndex:
    """Train and fill an index; its operating point is Faiss's default until it is tuned.

    Args:
        item_vectors: Shape (n_items, d), float32; row = item row.
        kind: A name of ``index.kinds.kinds`` or a Faiss factory string.
        threads: OpenMP threads of the building.

    Raises:
        InputError: Faiss rejects the factory string, or cannot train it on these vectors; or it
            scores by something else than the inner product.
    """
    vectors = np.ascontiguousarray(item_vectors, dtype=np.float32)
    named = named_kinds(*vectors.shape)
    factory = named[kind].factory if kind in named else kind
    faiss.omp_set_num_threads(threads)
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        require_inner_products(index, kind)
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        reason = reason_of(error)
        raise InputError(
            f"--kind {kind}: Faiss rejects it for {len(vectors)} vectors of {vectors.shape[1]} "
            f"dimensions ({reason}); take {AUTO}, {', '.join(named)} or a valid factory string"
        ) from error
    rescored = kind in named and named[kind].rescored
    return FaissItemIndex(
        index,
        kind=FLAT if factory == "Flat" else kind,
        factory=factory,
        item_vectors=item_vectors,
        parameters={RESCORING: 2} if rescored else None,
    )


def open_faiss_index(
    path: Path,
    *,
    kind: str,
    factory: str,
    item_vectors: Floats,
    parameters: Mapping[str, float] | None = None,
    threads: int = 1,
    mapped: bool = True,
) -> FaissItemIndex:
    """Open a saved index memory-mapped, so that all workers share one copy.

    Args:
        path: The file that ``FaissItemIndex.save`` wrote.
        kind: The kind, as the manifest holds it.
        factory: The factory string, likewise.
        item_vectors: See ``FaissItemIndex``.
        parameters: The operating point, likewise.
        threads: See ``FaissItemIndex``.
        mapped: Else it is read into memory, and can be changed.

    Raises:
        BundleError: Faiss cannot read the file, or it does not fit the rest.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except RuntimeError as error:
        reason = reason_of(error)
        raise BundleError(f"{path}: Faiss cannot read it ({reason}); build it again") from error
    if (index.ntotal, index.d) != item_vectors.shape:
        raise BundleError(
            f"{path}: holds {index.ntotal} vectors of {index.d} dimensions, the encoder "
            f"{item_vectors.shape[0]} of {item_vectors.shape[1]}; build the bundle again"
        )
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise BundleError(f"{path}: its metric is not inner product; build the bundle again")
    try:
        return FaissItemIndex(
            index,
            kind=kind,
            factory=factory,
            item_vectors=item_vectors,
            parameters=parameters,
            threads=threads,
        )
    except ValueError as error:
        raise BundleError(f"{path}: {error}; build the bundle again") from error
