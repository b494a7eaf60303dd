"""Kinds of index by name: what each Faiss index is in Faiss's words, and what it takes in memory.

    flat      every vector as it is, all of them scored: exact
    ivf-sq    vectors in half precision, in lists of near ones, of which a search probes some
    ivf-sq8   the same with a byte for each dimension
    ivf-pq    a quarter of a byte for each dimension; the best are scored again with the item table
    hnsw      a graph of near vectors in half precision
    scann     Google's ScaNN, an optional library (``index.kinds.scann_index``)

Every other kind is a Faiss factory string itself.
"""

import math
from typing import NamedTuple

AUTO = "auto"
FLAT = "flat"
SCANN = "scann"

_POINTS_PER_LIST = 39
"""Below, Faiss warns that its k-means has too little to go by."""
_LIST_ID_BYTES = 8
_HNSW_LINKS = 32


class Kind(NamedTuple):
    """What is built under a name.

    Attributes:
        factory: Faiss factory string.
        rescored: The best that it finds are scored again with the vectors themselves, which all
            workers share already: the index need not hold them once more.
        bytes_per_item: What it takes of memory, about.
    """

    factory: str
    rescored: bool
    bytes_per_item: float


def named_kinds(n_items: int, dim: int) -> dict[str, Kind]:
    """Return the kinds that have a name, fitted to a catalog; the finest codes come first.

    Args:
        n_items: Items in the catalog.
        dim: d, the length of an item vector.
    """
    lists = f"IVF{n_lists(n_items)}"
    # Two dimensions a code where they come in pairs, as fast-scan's tables like it.
    codes = dim // 2 if dim % 2 == 0 else dim
    return {
        FLAT: Kind("Flat", rescored=False, bytes_per_item=4 * dim),
        "hnsw": Kind(
            f"HNSW{_HNSW_LINKS},SQfp16",
            rescored=False,
            bytes_per_item=2 * dim + 4 * 2 * _HNSW_LINKS + _LIST_ID_BYTES,
        ),
        "ivf-sq": Kind(f"{lists},SQfp16", rescored=False, bytes_per_item=2 * dim + _LIST_ID_BYTES),
        "ivf-sq8": Kind(f"{lists},SQ8", rescored=True, bytes_per_item=dim + _LIST_ID_BYTES),
        "ivf-pq": Kind(
            f"{lists},PQ{codes}x4fsr", rescored=True, bytes_per_item=codes / 2 + _LIST_ID_BYTES
        ),
    }


def n_lists(n_items: int) -> int:
    """Return how many lists an inverted file has: the power of 2 nearest to twice the root of n.

    Fewer make lists longer, more make the choice of lists dearer; measured on 20,000, 100,000 and
    1,000,000 items (docs/benchmarks.md).
    """
    wanted: int = 2 ** round(math.log2(2 * math.sqrt(max(n_items, 1))))
    return max(1, min(wanted, n_items // _POINTS_PER_LIST))


AUTO_KINDS = ("ivf-sq", "ivf-sq8", "ivf-pq")
"""Tried by ``auto``, in this order, beside ``flat``: each takes less memory than the one before.

Not ``scann``: a bundle that ``auto`` built opens wherever the service is installed, and is mapped.
"""

AUTO_FLAT_ITEMS = 5000
"""Up to so many items ``auto`` is flat without trial: a search takes a tenth of a millisecond."""
