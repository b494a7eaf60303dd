"""Item vectors in, searchable and published bundle out.

Reading order: ``item_index`` (the seam), ``faiss_index``, ``retrieval`` (interests to candidates),
``catalog`` (item rows, ids, metadata), ``bundle``, ``registry``, ``takedowns``, ``build``.

This package knows nothing of torch, HTTP or Redis.
"""
