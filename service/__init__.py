"""HTTP in, candidates out.

From the outside in, and each folder imports only those below it::

    processes   the parent process and its workers
    routes      one module for each part of the API; ``app`` puts all together
    web         what requests pass before and beside the routes
    answering   from a request to its answer: ``matching`` is a request's life without HTTP
    caching     where answers are kept
    takedowns   items that must not be served any more
    live        what a worker serves
    api         what callers send and get: types, errors, description
    monitoring  metrics and logs

Beside them among others ``settings``, and how a new bundle goes live (``reloading``).

Encoding is NumPy (``model.inference``): a worker never loads torch.
"""
