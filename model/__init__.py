"""Interaction log in, user encoder and item vectors out.

Each folder imports only those below it::

    comparison  ``python -m model compare``: OPAL against its rivals
    training    from a data set to a run: steps, stages, validation, checkpoints
    rivals      the models that OPAL is compared with; OPAL is ``opal``, what all have ``encoder``
    baselines   simpler ones, which need no training
    layers      what models are made of, in torch
    data        from a log to batches: tables, splits, the data set
    config      what training can be told, and the recipes
    runtime     where it runs: device, processes, signals
    inference   encoders without torch, for the index and the service

Beside them among others ``run`` (what training leaves behind) and ``evaluation``.

This package knows nothing of Faiss, HTTP or Redis. It is empty on purpose, so that light tools
which import one NumPy-level module do not pay for torch.
"""
