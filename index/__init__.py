"""Item vectors in, searchable and published bundle out.

Each folder imports only those below it::

    commands    ``python -m index``
    registry    where bundles are published: what is live, what was
    renewal     the next bundle between two trainings
    takedowns   items that must not be served any more
    bundles     what is in a bundle; ``build`` makes one, ``bundle`` opens it
    kinds       the kinds of index: Faiss, ScaNN
    search      from interests to candidates; ``item_index`` is what all kinds have in common

This package knows nothing of torch, HTTP or Redis.
"""
