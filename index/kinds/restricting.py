"""Searches among some rows only: what lets Faiss find no others, and how much effort that takes."""

import math

import faiss
import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Mask, Rows


def lists_to_probe(
    index: faiss.IndexIVF, list_of_row: NDArray[np.int32], queries: Floats, allowed: Mask
) -> Rows:
    """Count the lists that hold as many allowed items as those usually probed hold items.

    The allowed ones may all lie far from a query: a user's favourite category is denied. So it is
    counted along each query's own way through the lists.

    Args:
        index: An inverted file.
        list_of_row: See ``lists_of_rows``. Shape (n_items,), int32.
        queries: Shape (q, d), float32.
        allowed: Shape (n_items,), bool.

    Returns:
        Shape (q,), int64; more than half of the lists where that is not enough.
    """
    held = np.bincount(list_of_row[allowed], minlength=index.nlist)
    _, nearest = index.quantizer.search(queries, max(1, index.nlist // 2))
    along = np.where(nearest >= 0, held[nearest], 0).cumsum(axis=1)
    usual = math.ceil(index.nprobe * len(allowed) / index.nlist)
    probes = (along < min(int(held.sum()), usual)).sum(axis=1) + 1
    enough: Rows = np.maximum(probes, index.nprobe)
    return enough


def lists_of_rows(index: faiss.IndexIVF) -> NDArray[np.int32]:
    """Look up the list of each item of an inverted file. Shape (n_items,), int32."""
    lists = np.zeros(index.ntotal, dtype=np.int32)
    inverted = index.invlists
    assert inverted is not None  # it is filled
    for number in range(index.nlist):
        if size := inverted.list_size(number):
            lists[faiss.rev_swig_ptr(inverted.get_ids(number), size)] = number
    return lists


def selector_of(allowed: Mask) -> faiss.IDSelector:
    """Make what lets a search find these rows only. Shape (n_items,), bool."""
    bits = np.packbits(allowed, bitorder="little")
    # Faiss's Python layer replaces the constructor; its type stubs know only that of C++.
    return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]
