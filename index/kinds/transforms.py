"""Which Faiss indexes score by inner product although they transform vectors first.

A factory string may begin with transforms: ``OPQ16,IVF256,PQ16`` rotates vectors, ``L2norm,Flat``
makes them unit vectors. What an index then returns is the inner product of what came out. Length
counts here (vectors of new items are shorter than 1), and answers show scores, so that only such
transforms are taken as leave inner products what they were.
"""

from typing import Any

import faiss

from model.errors import InputError

# What is not here changes them: L2norm and ITQ scale, PCA and ITQ take the mean away (PCA is no
# rotation in Faiss, not even to the same dimension), PCAW stretches.
_ISOMETRIES = (
    faiss.RandomRotationMatrix,
    faiss.OPQMatrix,
    faiss.HadamardRotation,
    faiss.RemapDimensionsTransform,
)


def require_inner_products(index: faiss.Index, kind: str) -> None:
    """Refuse an index whose scores are inner products of other vectors than those it was given.

    Args:
        index: As ``faiss.index_factory`` made it; need not be trained.
        kind: Its factory string, for the message.

    Raises:
        InputError: It transforms vectors in a way that changes inner products.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        chain: Any = index.chain  # a std::vector, which Faiss's own stubs take for a list
        for number in range(chain.size()):
            _require_isometry(faiss.downcast_VectorTransform(chain.at(number)), kind)
        require_inner_products(index.index, kind)
    elif isinstance(index, faiss.IndexRefine):
        # What it finds first is scored again by the second.
        require_inner_products(index.refine_index, kind)


def _require_isometry(transform: faiss.VectorTransform, kind: str) -> None:
    name = type(transform).__name__
    if not isinstance(transform, _ISOMETRIES):
        problem = f"its {name} changes inner products, and with them scores and their order"
    elif transform.d_out < transform.d_in:
        problem = (
            f"its {name} goes from {transform.d_in} to {transform.d_out} dimensions, which changes "
            "inner products, and with them scores and their order"
        )
    else:
        return
    raise InputError(
        f"--kind {kind}: {problem}; leave it out, or rotate only: OPQ or RR to at least "
        f"{transform.d_in} dimensions"
    )
