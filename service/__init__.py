"""HTTP in, candidates out.

Reading order: ``settings``, ``schemas`` (the wire format), ``routes``, ``matching`` (a request's
life without HTTP), ``reloading``, ``takedowns``, ``cache``, ``app`` (the composition root),
``server``.

Encoding is NumPy (``model.inference``): a worker never loads torch.
"""
