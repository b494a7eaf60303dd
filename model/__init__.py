"""Interaction log in, user encoder and item vectors out.

Reading order: ``interactions`` (read and check a log), ``splits`` (training, validation, test),
``dataset`` (the prepared folder), ``opal`` (the encoder), ``losses``, ``objective``, ``training``,
``evaluation``, ``run`` (what training leaves behind), ``inference`` (the encoder without torch).

This package knows nothing of Faiss, HTTP or Redis. It is empty on purpose, so that light tools
which import one NumPy-level module do not pay for torch.
"""
